// What the Client delivers, put into the state.

import { reasonOf } from "./reasons.js";

export class Inbox {
  #chat;
  #clock;

  constructor(chat, clock) {
    this.#chat = chat;
    this.#clock = clock;
  }

  take(what) {
    const { state } = this.#chat;
    switch (what.type) {
      case "state":
        state.applyConnection(what.state);
        return this.#changed("status");
      case "welcome":
        state.applyWelcome(what.welcome);
        return this.#changed("self");
      case "settled":
        return this.#settled(what);
      case "delayed":
        return this.#delayed(what);
      default: {
        const name = what.type === "entry" ? what.entry.room : what.room;
        const room = state.find(name);
        // One that was left may have something on its way.
        if (room !== null) this.#about(room, what);
      }
    }
  }

  #changed(topic, room) {
    this.#chat.onChange(topic, room?.name);
  }

  #about(room, what) {
    const roster = this.#chat.state.rosterOf(room.name);
    switch (what.type) {
      case "joined":
        return this.#joined(room, what);
      case "entry":
        return this.#entry(room, roster, what.entry);
      case "lost":
        room.applyLost(what);
        return this.#shown(room);
      case "reset":
        room.applyReset();
        this.#chat.state.failAcked(room.name, { code: "log_replaced" });
        return this.#shown(room);
      case "left":
        return this.#left(room, what);
      case "members":
        roster.replace(what.view);
        return this.#changed("members", room);
      case "presence":
        roster.count = what.count;
        return this.#changed("members", room);
      case "came":
        roster.join(what.member);
        return this.#changed("members", room);
      case "went":
        roster.leave(what.member);
        this.#changed("typing", room);
        return this.#changed("members", room);
      case "typing":
        return this.#typing(room, roster, what);
      default:
    }
  }

  #joined(room, what) {
    const { state } = this.#chat;
    state.rename(room, what.room);
    room.applyJoined(what);
    if (room.read === null) this.#restoreRead(room, what);
    if (what.members !== null) state.rosterOf(room.name).replace(what.members);
    this.#changed("rooms", room);
    this.#changed("members", room);
    this.#shown(room);
  }

  #restoreRead(room, { epoch, head }) {
    const { state } = this.#chat;
    const position = this.#chat.readPosition(room.name);
    room.read = position?.epoch === epoch ? Math.min(position.seq, head) : head;
    if (state.active === room.name) state.activate(room.name);
  }

  #entry(room, roster, entry) {
    if (entry.type === "message" && roster.stopTyping(entry.user)) this.#changed("typing", room);
    room.applyEntry(entry);
    this.#shown(room);
  }

  #left(room, { why, error = null }) {
    room.joined = false;
    if (why === "refused") room.error = { code: error.code, text: reasonOf(error) };
    else if (why === "too_many") room.error = { code: why, text: "You are in too many rooms." };
    this.#changed("rooms", room);
    this.#changed("messages", room);
  }

  #typing(room, roster, { member, active }) {
    if (this.#chat.state.self.users.has(member.user)) return;
    roster.setTyping({ ...member, active }, this.#clock.mono());
    this.#changed("typing", room);
  }

  #settled({ ticket, outcome }) {
    const { state } = this.#chat;
    if (this.#chat.answered(ticket, outcome)) return;
    const send = state.findPending(ticket);
    if (send === null) return;
    if (outcome.name === "acked") state.ackPending(send, outcome.seq);
    else {
      const error = outcome.error ?? { code: outcome.name };
      state.failPending(send, error, outcome.name === "unknown");
    }
    this.#changed("messages", state.rooms.get(send.room));
  }

  #delayed({ ticket, error }) {
    const send = this.#chat.state.findPending(ticket);
    if (send === null) return;
    send.delayed = error;
    this.#changed("messages", this.#chat.state.rooms.get(send.room));
  }

  #shown(room) {
    this.#chat.state.settlePending(room.name);
    this.#changed("messages", room);
  }
}
