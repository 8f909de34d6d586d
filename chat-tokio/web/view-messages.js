// The log of the active room. Rows are kept by key, the reading place is kept to the pixel.

import { byId, el, reconcile, setText } from "./dom.js";
import { lookCached } from "./roster.js";
import { countText } from "./view-rooms.js";
import {
  buildDay, buildHole, buildMessage, buildNewLine, buildPending, dayOf, updateMessage,
  updatePending,
} from "./view-row.js";

const ROWS_AT_BOTTOM = 500;
const ROWS_MORE = 150;
const STICK_PX = 48;
const NEAR_TOP_PX = 240;
const FAR_PX = 600;
const GROUP_MS = 5 * 60 * 1000;
const REPLACED = "The server has begun this room anew: what was here before is gone.";

export class MessagesView {
  #state;
  #on;
  #nodes = new Map();
  #shown = { room: null, generation: 0 };
  #scroller = byId("scroller");
  #list = byId("messages");
  /** While one reads further up, rows from this seq on are shown; null: the newest ones. */
  #top = null;
  #lastTop = 0;
  stuck = true;

  /** `on`: `older(room)`, `read()`, `retry(send)`, `discard(send)`. */
  constructor(state, on) {
    this.#state = state;
    this.#on = on;
    this.#scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    byId("pill").addEventListener("click", () => this.toNewest());
    const pin = new ResizeObserver(() => this.#resized());
    pin.observe(this.#scroller);
    pin.observe(this.#list);
  }

  /** `shared` holds the looks borne by more than one user. */
  render(shared, connected) {
    const { room } = this.#state;
    const opened = this.#adopt(room);
    if (!room) return this.#renderBlank(null);
    const anchor = this.stuck ? null : this.#anchor();
    const height = this.#scroller.scrollHeight;
    this.#list.setAttribute("aria-busy", String(opened || room.loadingOlder === true));
    reconcile(this.#list, this.#nodes, this.#items(room, shared, connected),
      (item) => item.build(item), (node, item) => item.update?.(node, item));
    this.#renderEdges(room);
    if (opened) this.#place();
    else if (anchor) this.#restore(anchor);
    else if (this.#scroller.scrollHeight !== height || this.stuck) this.#pin();
    this.renderPill(room);
    this.#fill(room);
  }

  /** A log shorter than the window cannot be scrolled, so it would never ask for more. */
  #fill(room) {
    const { scrollHeight, clientHeight } = this.#scroller;
    if (scrollHeight > clientHeight || room.olderFailed || room.loadingOlder) return;
    if (room.canLoadOlder && room.joined) this.#on.older(room);
  }

  renderPill(room = this.#state.room) {
    const unread = room?.unread ?? 0;
    const far = this.#distance() > FAR_PX;
    const pill = byId("pill");
    pill.hidden = this.stuck || !room || (unread === 0 && !far);
    pill.classList.toggle("calm", unread === 0);
    setText(byId("pill-text"), unread > 0 ? `${countText(unread)} new` : "Jump to the newest");
  }

  toNewest() {
    this.stuck = true;
    this.#top = null;
    this.#pin();
    this.#on.read();
  }

  /** Forgets rows when what they stood for is gone. Returns whether the log was opened anew. */
  #adopt(room) {
    const { room: before, generation } = this.#shown;
    if (room === before && room?.generation === generation) return false;
    this.#shown = { room, generation: room?.generation };
    this.#nodes.clear();
    this.#list.replaceChildren();
    this.#top = null;
    this.stuck = true;
    return true;
  }

  #items(room, shared, connected) {
    const items = [];
    const messages = this.#window(room);
    let before = null;
    let day = null;
    let newLine = room.divider;
    const gaps = room.gaps.filter((gap) => gap.to + 1 >= (messages[0]?.seq ?? 0));
    for (const message of messages) {
      while (gaps.length > 0 && gaps[0].to < message.seq) {
        items.push(holeItem(gaps.shift()));
        before = null;
      }
      if (Number.isFinite(message.ts) && dayOf(message.ts) !== day) {
        day = dayOf(message.ts);
        // Times order nothing: a day may come twice.
        items.push({ key: `day ${day} ${message.seq}`, ts: message.ts, build: buildDay });
        before = null;
      }
      if (newLine !== null && message.seq > newLine) {
        newLine = null;
        if (!room.isOwn(message)) {
          items.push({ key: "new", build: buildNewLine });
          before = null;
        }
      }
      items.push(messageItem(room, message, before, shared));
      before = message;
    }
    items.push(...gaps.map(holeItem), ...this.#pendingItems(room, before, connected));
    return items;
  }

  #pendingItems(room, before, connected) {
    const { self } = this.#state;
    let last = before && room.isOwn(before) ? before.ts : -Infinity;
    const pending = this.#state.pendingOf(room.name);
    const next = pending.find(({ status }) => status === "queued");
    return pending.map((send) => {
      const cont = send.created - last < GROUP_MS;
      last = send.created;
      return { key: `pending ${send.key}`, send, self, cont, connected, isNext: send === next,
        build: (item) => buildPending(item, this.#on), update: updatePending };
    });
  }

  /** The part of the messages that has rows. */
  #window(room) {
    const { messages } = room;
    if (this.#top === null || this.stuck) {
      const shown = messages.slice(-ROWS_AT_BOTTOM);
      this.#top = shown[0]?.seq ?? null;
      return shown;
    }
    return messages.slice(Math.max(0, messages.findIndex(({ seq }) => seq >= this.#top)));
  }

  #renderEdges(room) {
    this.#renderBlank(room);
    const all = room.messages.length === 0 || this.#top <= room.messages[0].seq;
    let text = "";
    if (room.loadingOlder) text = "Loading…";
    else if (room.loaded && all && !room.moreBefore && room.messages.length > 0) {
      if (room.from > 1) text = "Older messages are not kept.";
      else text = room.replaced ? REPLACED : "This is where the room begins.";
    } else if (all && room.moreBefore && !room.canLoadOlder && room.loaded) {
      text = "Older messages are not shown here.";
    }
    setText(byId("older"), text);
  }

  #renderBlank(room) {
    const blank = byId("blank");
    const empty = room && room.messages.length === 0 && room.gaps.length === 0
      && this.#state.pendingOf(room.name).length === 0;
    const ready = empty && room.loaded && !room.moreBefore;
    blank.hidden = Boolean(room && !empty);
    if (!room) {
      setText(byId("blank-title"), "Nothing open yet");
      setText(byId("blank-text"), "Join a room from the list, or type a name to create one.");
    } else if (empty) {
      setText(byId("blank-title"), ready ? "Nothing here yet" : "Opening the room…");
      const first = room.replaced ? REPLACED : "Write the first message.";
      setText(byId("blank-text"), ready ? first : "");
    }
  }

  #distance() {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
    return scrollHeight - scrollTop - clientHeight;
  }

  #resized() {
    if (this.stuck) this.#pin();
    // What stands below the log lines up with it, scroll bar or not.
    const gutter = this.#scroller.offsetWidth - this.#scroller.clientWidth;
    byId("foot").style.setProperty("--gutter", `${gutter}px`);
  }

  #pin() {
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#lastTop = this.#scroller.scrollTop;
  }

  /** A room with unread messages opens at the first of them, any other at its end. */
  #place() {
    this.#pin();
    const line = this.#nodes.get("new");
    if (!line) return;
    const above = line.getBoundingClientRect().top - this.#scroller.getBoundingClientRect().top;
    if (above >= 0) return;
    this.stuck = false;
    this.#scroller.scrollTop += above - 24;
  }

  /** The first row that can be seen, and where: that is what must not move. */
  #anchor() {
    const edge = this.#scroller.getBoundingClientRect().top;
    let low = 0;
    let high = this.#list.children.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#list.children[middle].getBoundingClientRect().bottom <= edge) low = middle + 1;
      else high = middle;
    }
    // Separators come and go with their neighbours: hold on to a message where there is one.
    let node = this.#list.children[low];
    while (node && !node.dataset.seq && node.nextElementSibling) node = node.nextElementSibling;
    return node ? { node, top: node.getBoundingClientRect().top } : null;
  }

  #restore({ node, top }) {
    if (!node.isConnected) return;
    const moved = node.getBoundingClientRect().top - top;
    if (moved !== 0) this.#scroller.scrollTop += moved;
  }

  #scrolled() {
    const { room } = this.#state;
    if (!room) return;
    const was = this.stuck;
    const up = this.#scroller.scrollTop < this.#lastTop;
    this.#lastTop = this.#scroller.scrollTop;
    const atEnd = this.#distance() < STICK_PX;
    // Away from the end without having gone up: the log grew. Only a person leaves the end.
    if (was && !atEnd && !up) return this.#pin();
    this.stuck = atEnd;
    if (this.stuck && !was) this.#on.read();
    this.renderPill(room);
    if (!this.stuck && this.#scroller.scrollTop < NEAR_TOP_PX) this.#more(room);
  }

  /** More rows at the top: first those we have, then those the server has. */
  #more(room) {
    const index = room.messages.findIndex(({ seq }) => seq >= this.#top);
    if (index > 0) {
      this.#top = room.messages[Math.max(0, index - ROWS_MORE)].seq;
      this.#on.rows();
    } else if (room.canLoadOlder && !room.loadingOlder) {
      this.#on.older(room);
      this.#top = 0;
    }
  }
}

function messageItem(room, message, before, shared) {
  const own = room.isOwn(message);
  const cont = before !== null && message.ts - before.ts < GROUP_MS
    && (own ? room.isOwn(before)
      : before.user === message.user && before.username === message.username);
  const marked = !own && shared.has(lookCached(String(message.username ?? message.user)));
  return { key: message.seq, message, own, cont, marked, build: buildMessage,
    update: updateMessage };
}

function holeItem({ from, to }) {
  return { key: `hole ${from}`, from, to, build: buildHole };
}
