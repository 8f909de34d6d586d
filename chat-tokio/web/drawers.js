// The two sides: columns where there is room, drawers where there is not.

import { byId } from "./dom.js";

const PHONE = matchMedia("(max-width: 760px)");
const NARROW = matchMedia("(max-width: 1040px)");

export class Drawers {
  #app = byId("app");
  #opener = null;

  constructor() {
    byId("open-side").addEventListener("click", () => this.openSide());
    byId("open-people").addEventListener("click", () => this.#togglePeople());
    for (const id of ["close-side", "close-people", "scrim"]) {
      byId(id).addEventListener("click", () => this.close());
    }
    NARROW.addEventListener("change", () => this.close());
    this.#tell();
  }

  openSide() {
    if (PHONE.matches) this.#open("side", "room-input");
  }

  /** Returns whether there was an open drawer. */
  close() {
    if (!this.#app.dataset.drawer) return false;
    delete this.#app.dataset.drawer;
    this.#tell();
    this.#opener?.focus();
    this.#opener = null;
    return true;
  }

  #togglePeople() {
    if (NARROW.matches) return this.#open("people", "close-people");
    this.#app.classList.toggle("people-closed");
    this.#tell();
  }

  #open(name, focus) {
    this.#opener = byId(`open-${name}`);
    this.#app.dataset.drawer = name;
    this.#tell();
    // A field would bring up the keyboard of a touch screen over the drawer.
    const touch = matchMedia("(pointer: coarse)").matches;
    byId(touch ? `close-${name}` : focus).focus();
  }

  #tell() {
    const { drawer } = this.#app.dataset;
    const column = !NARROW.matches && !this.#app.classList.contains("people-closed");
    byId("open-side").setAttribute("aria-expanded", String(drawer === "side"));
    byId("open-people").setAttribute("aria-expanded", String(column || drawer === "people"));
  }
}
