// Everything about other people's text that needs no page: comparing, making it safe to look at.

import { byteLength, NAME_BYTES_MAX } from "./client/names.js";

const encoder = new TextEncoder();

// Characters that reorder or hide their neighbours. Joiners stay: emoji and many scripts need them.
const BIDI = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;
const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g;
const BREAKS = /[\t\n\u2028\u2029]+/g;

/** Message text with control and bidi characters made visible; line breaks and tabs stay. */
export function printable(text) {
  return text
    .replace(/\r\n/g, "\n")
    .replace(CONTROL, picture)
    .replace(BIDI, (c) => `[U+${hex(c)}]`);
}

/** The same for names, which also must stay on one line. */
export function printableName(text) {
  return printable(text).replace(BREAKS, " ");
}

function picture(c) {
  const code = c.charCodeAt(0);
  if (code < 0x20) return String.fromCharCode(0x2400 + code);
  return code === 0x7f ? "\u2421" : `[U+${hex(c)}]`;
}

function hex(c) {
  return c.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0");
}

/** Null, or what is wrong with a name for a person or a room. */
export function nameProblem(name, what = "name") {
  if (name.length === 0) return `Please enter a ${what}.`;
  if (byteLength(name) > NAME_BYTES_MAX) {
    return `That ${what} is too long (${NAME_BYTES_MAX} bytes at most).`;
  }
  if (name.search(CONTROL) >= 0 || name.search(BIDI) >= 0) {
    return `That ${what} has characters that cannot be shown.`;
  }
  return null;
}

// The letters most often borrowed to imitate a Latin name; the server holds the complete table.
const TWINS = new Map(
  [
    ["a", "аαɑ"], ["b", "Ьƅ"], ["c", "сϲ"], ["d", "ԁ"], ["e", "еҽ"], ["g", "ɡց"], ["h", "һհ"],
    ["i", "іıι1l|"], ["j", "јϳ"], ["k", "кκ"], ["m", "м"], ["n", "ոп"], ["o", "оοօ0"],
    ["p", "рρ"], ["q", "ԛ"], ["s", "ѕ"], ["t", "тτ"], ["u", "υս"], ["v", "νѵ"], ["w", "ԝա"],
    ["x", "хχ"], ["y", "уүγ"],
  ].flatMap(([latin, twins]) => [...twins].map((twin) => [twin, latin])),
);

/** What a name looks like: equal for names that a hurried reader would take for one another. */
export function lookOf(name) {
  const plain = name.normalize("NFKC").toLowerCase()
    .normalize("NFD")
    .replace(/[\p{M}\p{Cf}\s]/gu, "");
  return [...plain].map((c) => TWINS.get(c) ?? c).join("").replaceAll("rn", "m");
}

/** The end of a user id: enough to tell two bearers of one name apart. */
export function shortId(user) {
  return user.slice(-4);
}

export function initialsOf(name) {
  const words = printableName(name).split(/[\s._-]+/u).filter((word) => /[\p{L}\p{N}]/u.test(word));
  const letters = words.map((word) => word.match(/[\p{L}\p{N}]/u)[0]);
  const picked = letters.length > 1 ? [letters[0], letters.at(-1)] : letters;
  return picked.join("").toUpperCase() || "?";
}

export const HUES = 12;

export function hueOf(user) {
  let hash = 2166136261;
  for (const byte of encoder.encode(user)) hash = Math.imul(hash ^ byte, 16777619) >>> 0;
  // Ids differ little and at their end: without this last mixing, neighbours share a colour.
  hash = Math.imul(hash ^ (hash >>> 15), 2246822519) >>> 0;
  return ((hash ^ (hash >>> 13)) >>> 0) % HUES;
}

const LINK = /\bhttps?:\/\/[^\s<>"'`]+/giu;

/** Cuts text into `{ text }` and `{ text, href }` pieces; only http and https become links. */
export function linkify(text) {
  const pieces = [];
  let end = 0;
  for (const match of text.matchAll(LINK)) {
    const shown = withoutTail(match[0]);
    const href = safeHref(shown);
    if (!href) continue;
    if (match.index > end) pieces.push({ text: text.slice(end, match.index) });
    pieces.push({ text: shown, href });
    end = match.index + shown.length;
  }
  if (end < text.length) pieces.push({ text: text.slice(end) });
  return pieces;
}

/** Punctuation after a link belongs to the sentence; a closing bracket only if none was opened. */
function withoutTail(link) {
  let cut = link;
  for (;;) {
    const last = cut.at(-1);
    if (".,;:!?…*_~".includes(last)) cut = cut.slice(0, -1);
    else if (")]}".includes(last) && unopened(cut, last)) cut = cut.slice(0, -1);
    else return cut;
  }
}

function unopened(text, closing) {
  const opening = { ")": "(", "]": "[", "}": "{" }[closing];
  return text.split(closing).length > text.split(opening).length;
}

function safeHref(text) {
  try {
    const url = new URL(text);
    return url.protocol === "http:" || url.protocol === "https:" ? url.href : null;
  } catch {
    return null;
  }
}
