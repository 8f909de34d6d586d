// Where one writes. The text of each room is kept until it is sent, also across visits.

import { byteLength } from "./client/names.js";
import { byId, setText } from "./dom.js";

const COUNTER_FROM = 0.8;
const SAVE_MS = 400;
const DRAFTS_MAX = 50;

export class ComposerView {
  #state;
  #store;
  #on;
  #room = undefined;
  #limit = null;
  #drafts;
  #saving = null;
  #field = byId("composer");

  /** `on`: `send(text)` → null or why not, `typing(active)`. */
  constructor(state, store, on) {
    this.#state = state;
    this.#store = store;
    this.#on = on;
    this.#drafts = new Map(Object.entries(store.get("drafts", {})));
    this.#field.addEventListener("input", () => this.#changed());
    this.#field.addEventListener("keydown", (event) => this.#key(event));
    byId("composer-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    addEventListener("pagehide", () => this.#save());
  }

  render() {
    const room = this.#state.active;
    byId("foot").hidden = room === null;
    const limit = this.#state.limits.message_bytes;
    // Measuring forces a layout, and this is called whenever anything arrives anywhere.
    if (room === this.#room && limit === this.#limit) return;
    this.#limit = limit;
    if (room !== this.#room) this.#show(room);
    else this.#measure();
  }

  focus() {
    // On a touch screen focus opens the keyboard over what one came to read.
    if (matchMedia("(pointer: coarse)").matches) return;
    this.#field.focus({ preventScroll: true });
  }

  #show(room) {
    this.#room = room;
    this.#field.value = this.#drafts.get(room) ?? "";
    this.#measure();
  }

  #key(event) {
    // An input method uses Enter to choose a word; that one is not ours.
    const composing = event.isComposing || event.keyCode === 229;
    if (event.key !== "Enter" || event.shiftKey || composing) return;
    event.preventDefault();
    this.#submit();
  }

  #submit() {
    const text = this.#field.value;
    if (text.trim() === "" || !this.#room || this.#bytesLeft(text) < 0) return;
    const problem = this.#on.send(text);
    if (problem) return this.#say(problem, true);
    this.#field.value = "";
    this.#field.focus({ preventScroll: true });
    this.#changed();
  }

  #changed() {
    const text = this.#field.value;
    this.#measure();
    if (!this.#room) return;
    if (text === "") this.#drafts.delete(this.#room);
    else this.#drafts.set(this.#room, text);
    this.#on.typing(text.trim() !== "");
    clearTimeout(this.#saving);
    this.#saving = setTimeout(() => this.#save(), SAVE_MS);
  }

  #save() {
    this.#store.set("drafts", Object.fromEntries([...this.#drafts].slice(-DRAFTS_MAX)));
  }

  #bytesLeft(text) {
    return this.#state.limits.message_bytes - byteLength(text);
  }

  #measure() {
    const text = this.#field.value;
    const left = this.#bytesLeft(text);
    const near = left < this.#state.limits.message_bytes * (1 - COUNTER_FROM);
    this.#say(near ? `${left} bytes left` : "", left < 0);
    byId("send").disabled = text.trim() === "" || left < 0;
    this.#field.style.height = "auto";
    this.#field.style.height = `${this.#field.scrollHeight}px`;
  }

  #say(text, over) {
    setText(byId("counter"), text);
    byId("counter").classList.toggle("over", over);
  }
}
