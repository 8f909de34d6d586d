// The left side: rooms joined, rooms others are in, the field that joins one.

import { byId, el, icon, reconcile, setText } from "./dom.js";
import { UNREAD_MAX } from "./room.js";
import { nameProblem, printableName } from "./text.js";

const LISTED_MAX = 50;

export function countText(count) {
  return count > UNREAD_MAX ? `${UNREAD_MAX}+` : String(count);
}

export function hashOf(name) {
  return `#${encodeURIComponent(name)}`;
}

export class RoomsView {
  #state;
  #on;
  #rooms = new Map();
  #listed = new Map();

  /** `on`: `open(name)`, `leave(name)`. */
  constructor(state, on) {
    this.#state = state;
    this.#on = on;
    byId("room-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    byId("room-input").addEventListener("input", () => setText(byId("room-problem"), ""));
  }

  render() {
    const rooms = [...this.#state.rooms.values()];
    reconcile(byId("rooms"), this.#rooms, rooms.map((room) => ({ key: room.name, room })),
      (item) => this.#build(item.key, true), (node, item) => this.#update(node, item.room));
    byId("rooms-empty").hidden = rooms.length > 0;
    const others = this.#state.listed.filter((entry) => !this.#state.find(entry.room));
    const shown = others.slice(0, LISTED_MAX);
    reconcile(byId("listed"), this.#listed, shown.map((entry) => ({ key: entry.room, entry })),
      (item) => this.#build(item.key, false), (node, { entry }) => updateListed(node, entry));
    byId("listed-part").hidden = shown.length === 0;
    byId("listed-more").hidden = !this.#state.listedMore && shown.length === others.length;
  }

  focusField() {
    byId("room-input").focus();
    byId("room-input").select();
  }

  #submit() {
    const input = byId("room-input");
    const name = input.value.trim();
    const problem = this.#problem(name);
    setText(byId("room-problem"), problem ?? "");
    if (problem) return;
    input.value = "";
    this.#on.open(name);
  }

  #problem(name) {
    const problem = nameProblem(name, "room name");
    if (problem || this.#state.find(name)) return problem;
    const most = this.#state.limits.rooms;
    return this.#state.rooms.size >= most ? `You can be in ${most} rooms at most.` : null;
  }

  #build(name, joined) {
    const shown = printableName(name);
    const label = el("span", { class: "label" }, el("bdi", { text: shown }));
    const link = el("a", {
      class: "room", href: hashOf(name), title: shown,
      data: joined ? { room: name } : { listed: name },
      on: { click: (event) => this.#click(event, name) },
    }, el("span", { class: "hash", "aria-hidden": "true", text: "#" }), label);
    link.append(joined ? el("span", { class: "unread", hidden: true })
      : el("span", { class: "people-here" }));
    const leave = joined ? el("button", {
      class: "icon leave", type: "button", "aria-label": `Leave ${shown}`, title: "Leave",
      on: { click: () => this.#on.leave(name) },
    }, icon("close")) : null;
    return el("li", {}, link, leave);
  }

  /** A plain click stays in this page; with a modifier the link opens elsewhere, as links do. */
  #click(event, name) {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
    event.preventDefault();
    this.#on.open(name);
  }

  #update(node, room) {
    const link = node.firstChild;
    const active = room.name === this.#state.active;
    const { unread } = room;
    if (active) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
    link.classList.toggle("has-unread", unread > 0);
    const badge = link.querySelector(".unread");
    badge.hidden = unread === 0;
    setText(badge, unread > 0 ? countText(unread) : "");
    badge.setAttribute("aria-label", `${countText(unread)} unread`);
    link.classList.toggle("trouble", room.error !== null);
  }
}

function updateListed(node, { members }) {
  const here = node.querySelector(".people-here");
  setText(here, Number.isSafeInteger(members) ? String(members) : "");
  here.setAttribute("aria-label", `${members} members`);
}
