// One line of the log: a message, a send on its way, a day, a hole.

import { el, setText } from "./dom.js";
import { reasonOf } from "./reasons.js";
import { hueOf, initialsOf, linkify, printable, printableName, shortId } from "./text.js";

const clockFormat = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const fullFormat = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });
const dayFormat = new Intl.DateTimeFormat(undefined,
  { weekday: "long", day: "numeric", month: "long" });
const oldDayFormat = new Intl.DateTimeFormat(undefined, { dateStyle: "long" });

export function buildMessage({ message, own }) {
  const { user, seq, ts } = message;
  const username = String(message.username ?? user);
  const row = el("article", { class: own ? "row own" : "row", data: { seq, user } },
    avatarOf(user, username),
    el("div", { class: "bubble" }, headOf(user, username, ts), bodyOf(message.content)));
  return row;
}

/** What may change while a row stays: grouping, and whether its author needs telling apart. */
export function updateMessage(row, { cont, marked, message }) {
  row.classList.toggle("cont", cont);
  setText(row.querySelector(".mark"), marked ? `#${shortId(message.user)}` : "");
}

export function buildPending({ send, self }, on) {
  const user = self.user ?? "";
  const row = el("article", { class: "row own", data: { pending: send.key } },
    el("div", { class: "bubble" }, headOf(user, self.name ?? "", send.created),
      bodyOf(send.content), el("div", { class: "state" },
        el("span", { class: "state-text" }),
        el("button", { class: "link", type: "button", text: "Try again",
          on: { click: () => on.retry(send) } }),
        el("button", { class: "link", type: "button", text: "Discard",
          on: { click: () => on.discard(send) } }))));
  return row;
}

/** `isNext`: those of the room before it are settled. */
export function updatePending(row, { send, cont, connected, isNext }) {
  const failed = send.status === "failed";
  row.classList.toggle("cont", cont);
  row.classList.toggle("failed", failed);
  row.dataset.status = send.status;
  for (const button of row.querySelectorAll(".state button")) button.hidden = !failed;
  const text = row.querySelector(".state-text");
  // The log tells of additions only; a failure has to be heard, too.
  if (failed) text.setAttribute("role", "alert");
  else text.removeAttribute("role");
  setText(text, stateText(send, connected, isNext));
}

function stateText({ status, error, inDoubt, delayed }, connected, isNext) {
  if (status === "failed") {
    return `${inDoubt ? "Perhaps not sent" : "Not sent"}: ${reasonOf(error)}`;
  }
  if (status === "acked") return "Sent";
  if (!connected) return "Waiting for the connection";
  if (delayed !== null) return `Waiting: ${reasonOf(delayed)}`;
  return isNext ? "Sending…" : "Waiting";
}

export function buildDay({ ts }) {
  return el("div", { class: "day", role: "separator" }, el("span", { text: dayText(ts) }));
}

export function buildNewLine() {
  return el("div", { class: "new-line", role: "separator" }, el("span", { text: "New" }));
}

export function buildHole({ from, to }) {
  const count = to - from + 1;
  const text = count === 1 ? "A message is missing: the server no longer has it."
    : `${count} messages are missing: the server no longer has them.`;
  return el("div", { class: "hole", role: "note", data: { from, to }, text });
}

export function dayOf(ts) {
  const date = new Date(ts);
  return `${date.getFullYear()}-${date.getMonth()}-${date.getDate()}`;
}

function dayText(ts) {
  const now = new Date();
  const yesterday = new Date(now.getFullYear(), now.getMonth(), now.getDate() - 1);
  if (dayOf(ts) === dayOf(now)) return "Today";
  if (dayOf(ts) === dayOf(yesterday)) return "Yesterday";
  const recent = new Date(ts).getFullYear() === now.getFullYear();
  return (recent ? dayFormat : oldDayFormat).format(new Date(ts));
}

function avatarOf(user, username) {
  return el("span", {
    class: `avatar hue-${hueOf(user)}`, "aria-hidden": "true", text: initialsOf(username),
  });
}

function headOf(user, username, ts) {
  const name = printableName(username);
  const date = new Date(ts);
  const valid = Number.isFinite(date.getTime());
  return el("header", { class: "head" },
    el("bdi", {
      class: `author hue-${hueOf(user)}`, title: `${name} · ${printableName(user)}`,
      text: name,
    }),
    el("span", { class: "mark" }),
    el("time", {
      datetime: valid ? date.toISOString() : null, title: valid ? fullFormat.format(date) : null,
      text: valid ? clockFormat.format(date) : "",
    }));
}

function bodyOf(content) {
  const body = el("div", { class: "content", dir: "auto" });
  for (const piece of linkify(printable(content))) {
    body.append(piece.href ? linkTo(piece) : piece.text);
  }
  return el("div", { class: "body" }, body);
}

function linkTo({ text, href }) {
  return el("a", { href, text, title: href, target: "_blank", dir: "ltr",
    rel: "noopener noreferrer nofollow" });
}
