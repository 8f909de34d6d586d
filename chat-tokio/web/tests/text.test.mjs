import assert from "node:assert/strict";
import { test } from "node:test";
import { byteLength } from "../client/names.js";
import {
  HUES, hueOf, initialsOf, linkify, lookOf, nameProblem, printable,
  printableName,
} from "../text.js";

test("control and bidi characters are made visible, line breaks and tabs stay", () => {
  assert.equal(printable("a\u0000b\u0007\u007f\u0085"), "a\u2400b\u2407\u2421[U+0085]");
  assert.equal(printable("\u202egnp.exe\u2066"), "[U+202E]gnp.exe[U+2066]");
  assert.equal(printable("a\r\nb\tc"), "a\nb\tc");
  assert.equal(printableName("a\nb\u2028c"), "a b c");
  assert.equal(printable("👩‍👩‍👧 שלום"), "👩‍👩‍👧 שלום");
});

test("only http and https become links, without the sentence around them", () => {
  const hrefs = (text) => linkify(text).filter(({ href }) => href).map(({ text: t }) => t);
  assert.deepEqual(hrefs("see https://a.b/c. (http://d.e/f_(g)?h=1), ok"),
    ["https://a.b/c", "http://d.e/f_(g)?h=1"]);
  for (const text of ["javascript:alert(1)", "data:text/html,x", "//a.b", "xhttp://", "https://",
    "ftp://a.b", "file:///etc/passwd"]) assert.deepEqual(hrefs(text), [], text);
  const text = "a http://b.c d https://e.f/<script> \"https://g.h\"";
  assert.equal(linkify(text).map((piece) => piece.text).join(""), text);
});

test("names are measured in bytes", () => {
  assert.equal(byteLength("é👍"), 6);
  assert.equal(nameProblem("Ada"), null);
  assert.equal(nameProblem("é".repeat(32)), null);
  assert.match(nameProblem("é".repeat(33)), /too long/);
  assert.match(nameProblem(""), /enter/);
  assert.match(nameProblem("a\u202eb"), /cannot be shown/);
});

test("look-alike names look alike", () => {
  assert.equal(lookOf("Аdа"), lookOf("ada"));
  assert.equal(lookOf("rnary"), lookOf("MARY"));
  assert.equal(lookOf("Adá"), lookOf("ada\u200b"));
  assert.notEqual(lookOf("ada"), lookOf("bob"));
});

test("every user has initials and a colour", () => {
  assert.equal(initialsOf("Ada Lovelace"), "AL");
  assert.equal(initialsOf("ada"), "A");
  assert.equal(initialsOf("!!"), "?");
  for (const user of ["", "guest-1", "é"]) assert.ok(hueOf(user) >= 0 && hueOf(user) < HUES);
});
