import assert from "node:assert/strict";
import { test } from "node:test";
import { decode, encode, ERROR_CODES, isEntry } from "../client/frames.js";
import {
  folded, inboxOf, isDisplayName, isEpoch, isInbox, isKey, isSessionId, isUserId,
} from "../client/names.js";
import { load, loadAll } from "./vectors.mjs";

const SERVER = loadAll("v1/server");
const CLIENT = loadAll("v1/client");

function withoutNulls(value) {
  return JSON.parse(encode(value));
}

test("every frame of a server reads as the golden vectors say", () => {
  let read = 0;
  for (const [file, { valid, reads_as: others = [] }] of SERVER) {
    for (const { name, wire, value } of [...valid, ...others]) {
      assert.deepEqual(decode(wire), value, `${file}: ${name}`);
      read += 1;
    }
  }
  assert.ok(read >= 85, `only ${read} texts`);
  assert.equal(SERVER.length, 20);
});

test("what is no frame reads as none", () => {
  let refused = 0;
  for (const [file, { invalid }] of SERVER) {
    for (const { name, wire } of invalid) {
      assert.equal(decode(wire), null, `${file}: ${name}`);
      refused += 1;
    }
  }
  assert.ok(refused >= 60, `only ${refused} texts`);
});

test("every request that the vectors have is written so that it means the same", () => {
  let written = 0;
  for (const [file, { valid }] of CLIENT) {
    for (const { name, value } of valid) {
      assert.deepEqual(JSON.parse(encode(value)), withoutNulls(value), `${file}: ${name}`);
      assert.ok(!encode(value).includes("null"), `${file}: ${name}`);
      written += 1;
    }
  }
  assert.ok(written >= 30, `only ${written} requests`);
});

test("any mutilated frame is read or refused, and never throws", () => {
  for (const [, { valid }] of SERVER) {
    for (const { wire } of valid) {
      for (let cut = 0; cut < Math.min(wire.length, 400); cut += 1) {
        assert.equal(decode(wire.slice(0, cut)), null);
        decode(wire.slice(0, cut) + wire.slice(cut + 1));
        decode(`${wire.slice(0, cut)}9${wire.slice(cut + 1)}`);
        decode(`${wire.slice(0, cut)}null${wire.slice(cut)}`);
      }
    }
  }
  const nested = "[".repeat(100_000);
  for (const odd of [undefined, null, 7, new ArrayBuffer(3), "\u{feff}{}", "null", "[]", nested,
    `{"type":"joined","events":${nested}`, '{"type":"__proto__"}', '{"type":"constructor"}']) {
    const frame = decode(odd);
    assert.ok(frame === null || frame.type === "unknown", String(odd).slice(0, 40));
  }
});

test("a room called __proto__ is a room like any other", () => {
  const frame = decode('{"type":"ping","heads":{"__proto__":{"epoch":"e","seq":1}}}');
  assert.deepEqual(Object.entries(frame.heads), [["__proto__", { epoch: "e", seq: 1 }]]);
  assert.equal({}.epoch, undefined);
});

test("what has a place is an entry, whatever its type", () => {
  const entry = { room: "r", seq: 1, ts: 1, user: "u", username: "U" };
  assert.equal(isEntry(decode(JSON.stringify({ ...entry, type: "reaction" }))), true);
  assert.equal(isEntry(decode(JSON.stringify({ ...entry, type: "message", content: "" }))), true);
  assert.equal(decode(JSON.stringify({ ...entry, type: "reaction", seq: -1 })).type, "unknown");
  assert.equal(isEntry(decode('{"type":"pong"}')), false);
});

test("a field that is given twice is an error, at any depth and in any spelling", () => {
  assert.equal(decode('{"type":"pong","id":"1","i\\u0064":"2"}'), null);
  assert.equal(decode('{"type":"ping","heads":{"a":{"epoch":"e","seq":1,"seq":2}}}'), null);
  const inText = '{"type":"bye","code":"{\\"a\\":1,\\"a\\":2}","reconnect":true,"after_ms":1}';
  assert.notEqual(decode(inText), null);
});

test("names of the vectors are the same rooms here, and no rooms here", () => {
  const names = load("names.json");
  const refused = [];
  for (const { text, folded: form, error } of names.rooms_and_display_names) {
    // An inbox is a room, but no name that a room for everybody can have.
    if (error) refused.push([text, error, isInbox(text) ? null : folded(text)]);
    else assert.equal(folded(text), form, JSON.stringify(text));
    if (!error) assert.equal(isDisplayName(text), true, JSON.stringify(text));
  }
  // The complete tables are the server's: what only they refuse is taken here.
  const taken = refused.filter(([, , form]) => form !== null).map(([, error]) => error);
  assert.ok(taken.every((error) => error === "forbidden" || error === "combining_marks"), taken);
  assert.ok(taken.length < refused.length / 3, `${taken.length} of ${refused.length}`);
  for (const { text, user } of names.inboxes) {
    assert.equal(folded(text), user === null ? null : inboxOf(user), text);
    assert.equal(isInbox(text), user !== null, text);
    assert.equal(isDisplayName(text), false, text);
  }
  for (const [kind, test] of [["user_ids", isUserId], ["session_ids", isSessionId],
    ["epochs", isEpoch], ["request_ids_and_keys", isKey]]) {
    for (const { text, valid } of names[kind]) assert.equal(test(text), valid, `${kind}: ${text}`);
  }
});

test("the error codes are those of the vectors", () => {
  const [, { valid }] = SERVER.find(([file]) => file === "error.json");
  const codes = new Set(valid.map(({ value }) => value.code));
  assert.deepEqual([...codes].sort(), [...ERROR_CODES].sort());
});
