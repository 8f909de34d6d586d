// Identifiers: which texts are some, and which room names are the same. The server has the complete
// rules (RFC 8266 with Unicode's tables); a client only has to know when two names are one room.

export const NAME_BYTES_MAX = 64;

const encoder = new TextEncoder();

export function byteLength(text) {
  return encoder.encode(text).length;
}

const PLAIN = /^[a-z0-9._-]{1,64}$/;
const INBOX = /^@[a-z0-9][a-z0-9._-]{0,63}$/;
const FORBIDDEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}]/u;

/** The name of a user's inbox, which is a room like any other. */
export const inboxOf = (user) => `@${user}`;
export const isInbox = (name) => matches(name, INBOX);

/** The form by which two room names are the same, or null if the text is no name. */
export function folded(name) {
  if (typeof name !== "string") return null;
  if (PLAIN.test(name) || INBOX.test(name)) return name;
  // What is far too long needs no mapping to be refused.
  if (name.length > NAME_BYTES_MAX * 4) return null;
  const spelled = nickname(name);
  return spelled === null ? null : nickname(spelled.toLowerCase());
}

function nickname(text) {
  const name = mapped(text);
  const refused = name === "" || FORBIDDEN.test(name) || "@~".includes(name[0])
    || byteLength(name) > NAME_BYTES_MAX;
  return refused ? null : name;
}

function mapped(text) {
  const spaces = (s) => s.replace(/\p{Zs}+/gu, " ").replace(/^ | $/g, "");
  return spaces(spaces(text).normalize("NFKC"));
}

export const isDisplayName = (text) => typeof text === "string"
  && text.length <= NAME_BYTES_MAX * 4 && nickname(text) !== null;
export const isUserId = (text) => matches(text, /^[a-z0-9][a-z0-9._-]{0,63}$/);
export const isSessionId = (text) => matches(text, /^[A-Za-z0-9_-]{1,64}$/);
export const isEpoch = (text) => matches(text, /^[A-Za-z0-9_-]{1,32}$/);

/** Ids of requests and idempotency keys. */
export function isKey(text) {
  return typeof text === "string" && text !== "" && text.isWellFormed()
    && !/\p{Cc}/u.test(text) && byteLength(text) <= 64;
}

/** A place in a log, or any other integer of the wire: 0 to 2^53-1. */
export const SEQ_MAX = Number.MAX_SAFE_INTEGER;
export const isCount = (value) => Number.isSafeInteger(value) && value >= 0;

function matches(text, grammar) {
  return typeof text === "string" && grammar.test(text);
}
