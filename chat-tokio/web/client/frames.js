// Reads what a server sends into frames with every field spelled out, and writes requests. A text
// that breaks the shape of its `type` is no frame: nothing is guessed.

import {
  byteLength, folded, isCount, isDisplayName, isEpoch, isKey, isSessionId, isUserId,
} from "./names.js";

export const DEFAULT_LIMITS = Object.freeze({
  frame_bytes: 16384, message_bytes: 8192, rooms: 128, rooms_total: 100_000, members: 1_000_000,
  connections: 100_000, history: 200, page_bytes: 131_072, members_listed: 200, rooms_listed: 200,
  in_flight: 256, messages_per_10s: 500, basic_messages_per_10s: 0, user_messages_per_10s: 1000,
  address_messages_per_10s: 20_000, user_sessions: 64, cost_hello: 500, cost_join: 500,
  cost_history: 500, cost_members: 500, cost_leave: 100, cost_pong: 20, outbox_high_bytes: 131_072,
  outbox_bytes: 1_048_576, recent_entries: 256, recent_bytes: 262_144, behind_entries: 10_000,
  room_drafts: 4096, typing_members: 100, notice_members: 64,
});

export const ERROR_CODES = Object.freeze([
  "bad_frame", "unknown_type", "hello_expected", "already_welcome", "unauthorized", "forbidden",
  "auth_unavailable", "invalid_name",
  "not_member", "too_many_rooms", "too_many_sessions", "rooms_exhausted", "room_full", "too_large",
  "invalid_content",
  "rate_limited", "idempotency_conflict", "log_unavailable", "unknown_outcome", "draining",
]);
const DURABILITIES = ["memory", "process", "disk", "replicated"];
const LEAVE_REASONS = ["left", "disconnected", "slow_consumer", "timed_out", "draining", "removed"];
const LOST_REASONS = ["epoch_changed", "truncated", "too_far", "not_member", "unavailable"];

class Malformed extends Error {}

/** Returns the frame, or null; never throws. An unknown `type` without a place is `unknown`. */
export function decode(text) {
  if (typeof text !== "string") return null;
  try {
    const value = JSON.parse(text);
    if (!isObject(value) || typeof value.type !== "string" || namesTwice(text)) return null;
    return read(value);
  } catch (error) {
    // A SyntaxError of JSON.parse, a RangeError of one that is nested too deeply, or our own.
    if (error instanceof SyntaxError || error instanceof RangeError) return null;
    if (error instanceof Malformed) return null;
    throw error;
  }
}

/** Writes a request; what is null is left out. */
export function encode(request) {
  return JSON.stringify(request, (_, value) => (value === null ? undefined : value));
}

export function encodedLength(request) {
  return byteLength(encode(request));
}

/** Whether a frame is an entry of a log: it has a place, whatever it says. */
export function isEntry(frame) {
  return frame.type === "message" || (!Object.hasOwn(SHAPES, frame.type) && isCount(frame.seq));
}

function read(value) {
  if (value.type === "message") return entry(value);
  if (Object.hasOwn(SHAPES, value.type)) {
    return { type: value.type, ...fields(SHAPES[value.type], value) };
  }
  try {
    return entry(value);
  } catch (error) {
    if (error instanceof Malformed) return { type: "unknown" };
    throw error;
  }
}

function entry(value) {
  if (!isObject(value) || typeof value.type !== "string") throw new Malformed();
  const shape = value.type === "message" ? { ...ENTRY, content: string } : ENTRY;
  return { type: value.type, ...fields(shape, value) };
}

function fields(shape, value) {
  const out = {};
  for (const [name, read] of Object.entries(shape)) {
    out[name] = read(Object.hasOwn(value, name) ? value[name] : undefined);
  }
  return out;
}

/** A reader takes a value of JSON, or undefined where there is none, and returns what it means. */
const that = (test) => (value) => {
  if (!test(value)) throw new Malformed();
  return value;
};
const optional = (reader, otherwise = null) => (value) => (
  value === undefined || value === null ? otherwise : reader(value));
const listOf = (reader) => (value) => that(Array.isArray)(value).map(reader);
const object = (shape) => (value) => fields(shape, that(isObject)(value));
const oneOf = (known) => (value) => (known.includes(string(value)) ? value : "unknown");
const roomsOf = (reader) => (value) => {
  const out = {};
  for (const [name, inner] of Object.entries(that(isObject)(value ?? {}))) {
    // Not by assignment: a room may be called `__proto__`.
    Object.defineProperty(out, room(name),
      { value: reader(inner), enumerable: true, configurable: true, writable: true });
  }
  return out;
};

const string = that((value) => typeof value === "string" && value.isWellFormed());
const flag = that((value) => typeof value === "boolean");
const count = that(isCount);
const room = that((value) => folded(value) !== null);
const userId = that(isUserId);
const name = that(isDisplayName);
const epoch = that(isEpoch);
const key = that(isKey);
const id = optional(key);

const MEMBER = { user: userId, username: name };
const VIEW = { count, members: listOf(object(MEMBER)) };
const ENTRY = { room, seq: count, ts: count, user: userId, username: name,
  reply_to: optional(count), key: optional(key) };

function limits(value) {
  that(isObject)(value);
  const known = Object.keys(DEFAULT_LIMITS).filter((limit) => Object.hasOwn(value, limit));
  return { ...DEFAULT_LIMITS,
    ...Object.fromEntries(known.map((limit) => [limit, count(value[limit])])) };
}

function recovery(value) {
  if (flag(that(isObject)(value).recovered)) {
    return { recovered: true, epoch: epoch(value.epoch), head: count(value.head) };
  }
  return { recovered: false, reason: optional(oneOf(LOST_REASONS), "unknown")(value.reason) };
}

const SHAPES = {
  welcome: { id, session: that(isSessionId), user: userId, name, resumed: flag,
    durability: that((value) => DURABILITIES.includes(value)), heartbeat_ms: count, limits,
    features: listOf(string), rooms: roomsOf(recovery) },
  joined: { id, room, epoch, head: count, members: object(VIEW), events: listOf(entry),
    has_more_before: flag },
  authenticated: { id, expires_in_ms: optional(count) },
  auth_expiring: { expires_in_ms: count },
  left: { id, room },
  ack: { id, room, seq: optional(count), ts: optional(count), duplicate: optional(flag, false) },
  page: { id, room, epoch, events: listOf(entry), has_more_before: flag, has_more_after: flag },
  members: { id, room, ...VIEW },
  rooms: { id, rooms: listOf(object({ room, members: count })), has_more: flag },
  pong: { id },
  error: { id, code: oneOf(ERROR_CODES), message: string, retryable: flag,
    retry_after_ms: optional(count), room: optional(room) },
  join: { room, ...MEMBER },
  leave: { room, ...MEMBER, reason: oneOf(LEAVE_REASONS) },
  typing: { room, ...MEMBER, active: flag },
  presence: { room, count },
  gap: { room, from: count, to: count },
  hole: { room, from: count, to: count },
  bye: { code: string, reconnect: flag, after_ms: count },
  ping: { heads: roomsOf(object({ epoch, seq: count })) },
};

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

const TOKENS = /"((?:[^"\\]|\\.)*)"(\s*:)?|[{}]/g;

/** Whether an object of a text that is JSON names a field twice: `JSON.parse` would take one. */
function namesTwice(text) {
  const open = [];
  for (const [token, name, colon] of text.matchAll(TOKENS)) {
    if (token === "{") open.push(new Set());
    else if (token === "}") open.pop();
    else if (colon !== undefined) {
      const plain = name.includes("\\") ? JSON.parse(`"${name}"`) : name;
      if (open.at(-1).has(plain)) return true;
      open.at(-1).add(plain);
    }
  }
  return false;
}
