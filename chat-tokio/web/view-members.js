// The right side: who is in the room.

import { byId, el, reconcile, setText } from "./dom.js";
import { lookCached } from "./roster.js";
import { hueOf, initialsOf, printableName, shortId } from "./text.js";

export class MembersView {
  #state;
  #nodes = new Map();

  constructor(state) {
    this.#state = state;
  }

  /** `shared` holds the looks borne by more than one user. */
  render(shared) {
    const roster = this.#state.rosterOf(this.#state.active);
    const users = roster ? roster.sorted(this.#state.self) : [];
    const items = users.map((entry) => ({ key: `${entry.user} ${entry.username}`, ...entry }));
    reconcile(byId("members"), this.#nodes, items, (item) => this.#build(item),
      (node, item) => setText(node.querySelector(".mark"),
        shared.has(lookCached(item.username)) ? `#${shortId(item.user)}` : ""));
    const count = roster?.count ?? 0;
    const shown = users.reduce((sum, entry) => sum + entry.sessions, 0);
    setText(byId("members-count"), count > 0 ? `· ${count}` : "");
    setText(byId("people-count"), count > 0 ? String(count) : "");
    byId("members-more").hidden = count <= shown;
    setText(byId("members-more"), `and ${Math.max(0, count - shown)} more`);
  }

  renderSelf(avatar, { user, name }) {
    avatar.className = `avatar hue-${hueOf(user ?? "")}`;
    setText(avatar, name ? initialsOf(name) : "");
  }

  #build({ user, username }) {
    const name = printableName(username);
    const own = user === this.#state.self.user;
    const avatar = el("span", {
      class: `avatar hue-${hueOf(user)}`, "aria-hidden": "true", text: initialsOf(username),
    });
    const who = el("span", { class: "who" }, el("bdi", { text: name }),
      el("span", { class: "mark" }), own ? el("span", { class: "you", text: " (you)" }) : null);
    return el("li", { data: { user }, title: `${name} · ${printableName(user)}` }, avatar, who);
  }
}
