import assert from "node:assert/strict";
import { test } from "node:test";
import { Run } from "./scenario.mjs";
import { loadAll } from "./vectors.mjs";

const SCENARIOS = loadAll("scenarios");
const ran = new Set();

for (const [file, scenario] of SCENARIOS) {
  test(`scenario: ${scenario.name}`, () => {
    const run = new Run(scenario);
    scenario.steps.forEach((step, number) => run.step(`${file} step ${number}`, step));
    ran.add(file);
  });
}

test("all scenarios ran", () => {
  assert.ok(SCENARIOS.length >= 55, `only ${SCENARIOS.length} scenarios`);
  assert.deepEqual([...ran], SCENARIOS.map(([file]) => file));
});

/** The runner itself is put to the test: a scenario that is wrong has to fail. */
test("a wrong expectation fails", () => {
  const started = { do: { start: true }, expect: [{ open: true }] };
  for (const wrong of [
    [{ do: { start: true } }],
    [{ do: { start: true }, expect: [{ open: true }, { open: true }] }],
    [{ ...started, state: "online" }],
    [started, { opened: true, expect: [{ client: { type: "hello", name: "Bob" } }] }],
    [started, { opened: true, expect: [{ client: { type: "hello", name: null } }] }],
    [started, { opened: true, expect: [{ client: { type: "hello", id: "$x", name: "$x" } }] }],
    [{ pass_ms: 5, expect: [{ entry: { room: "lobby", seq: 1 } }] }],
    [started, { server: { type: "welcome" } }],
    [started, { text: "{\"type\":\"ping\"}" }],
    [{ do: { dance: true } }],
    [{ unheard: true }],
  ]) {
    const run = new Run({ config: { name: "Ada", history: 50 }, random: 0.5 });
    const play = () => wrong.forEach((step) => run.step("wrong", step));
    assert.throws(play, assert.AssertionError, JSON.stringify(wrong));
  }
});

/** Every expectation of every scenario is looked at: changing any one of them is noticed. */
test("no step holds with one of its expectations left out", () => {
  let changed = 0;
  for (const [file, scenario] of SCENARIOS) {
    for (const [number, { expect }] of scenario.steps.entries()) {
      for (const at of (expect ?? []).keys()) {
        const run = new Run(scenario);
        for (const step of scenario.steps.slice(0, number)) run.step(file, step);
        const less = { ...scenario.steps[number], expect: expect.filter((_, i) => i !== at) };
        const place = `${file} step ${number}, ${at}`;
        assert.throws(() => run.step(place, less), assert.AssertionError, place);
        changed += 1;
      }
    }
  }
  assert.ok(changed > 300, `only ${changed} expectations`);
});
