import assert from "node:assert/strict";
import { test } from "node:test";
import { adviceOf, after, retry } from "../client/backoff.js";
import { DEFAULT_TIMES as TIMES } from "../client/config.js";
import { Machine } from "./machine.mjs";
import { load } from "./vectors.mjs";

const MOST = 1 - Number.EPSILON;
const CODES = load("close_codes.json");
const ALL = [...CODES.known, ...CODES.unknown];

function waitAfter(cause, losses, random = MOST) {
  return after(cause, null, losses, TIMES, random).wait;
}

test("every close code has the advice of the vectors", () => {
  assert.ok(ALL.length >= 40, `only ${ALL.length} codes`);
  for (const { code, advice } of ALL) assert.equal(adviceOf(code), advice, String(code));
});

/** The phases in which a connection can end, and how to get there. */
const PHASES = {
  opening: (machine) => machine.do({ type: "start" }),
  greeting: (machine) => machine.do({ type: "start" }).do({ type: "opened" }),
  online: (machine) => machine.online(),
  "online with a room": (machine) => machine.inLobby(3),
  "resuming a room": (machine) => {
    machine.inLobby(3).do({ type: "closed", code: null }).pass(500);
    return machine.do({ type: "opened" });
  },
};

test("every close code is obeyed in every phase of a connection", () => {
  let tried = 0;
  for (const { code, advice, reconnect } of ALL) {
    for (const [phase, reach] of Object.entries(PHASES)) {
      const about = `${code} while ${phase}`;
      const machine = reach(new Machine());
      machine.told = [];
      const links = machine.link;
      machine.do({ type: "closed", code });
      const state = machine.client.state();
      if (code === 4001 || code === 4003) {
        assert.equal(state.name, "connecting", `${about}: a token is awaited`);
      } else if (code === 1009 && phase === "resuming a room") {
        assert.equal(state.name, "waiting", `${about}: the rooms were too many for one hello`);
      } else if (reconnect) {
        assert.equal(state.name, "waiting", about);
        const delay = state.until - machine.now.mono;
        const most = advice === "resume_now" ? TIMES.resumeSpreadMs : TIMES.backoffBaseMs;
        assert.ok(delay > 0 && delay <= most, `${about}: after ${delay} ms`);
        machine.pass(delay);
        assert.equal(machine.link, links + 1, `${about}: it connects again`);
      } else {
        assert.deepEqual(state.why, { name: "closed", code, advice }, about);
        assert.equal(machine.client.pollTimeout(), null, `${about}: nothing comes by itself`);
        machine.pass(1_000_000).do({ type: "wake" });
        assert.equal(machine.link, links, about);
        assert.equal(machine.do({ type: "start" }).link, links + 1, `${about}: but when asked`);
      }
      tried += 1;
    }
  }
  assert.ok(tried >= 200, `only ${tried}`);
});

test("a close of no present connection changes nothing", () => {
  const idle = new Machine();
  assert.equal(idle.do({ type: "closed", link: null, code: 4300 }).state, "idle");
  const machine = new Machine().online();
  machine.do({ type: "closed", link: machine.link - 1, code: 4300 });
  machine.do({ type: "closed", link: machine.link + 1, code: 4300 });
  assert.equal(machine.state, "online");
});

test("delays double up to a limit", () => {
  const most = (cause) => (losses) => waitAfter(cause, losses) + 1;
  assert.deepEqual([0, 1, 2, 5, 6, 63, 64, 1e9].map(most({ closed: null })),
    [500, 1000, 2000, 16_000, 30_000, 30_000, 30_000, 30_000]);
  assert.deepEqual([0, 1, 2, 3, 99].map(most({ closed: 4200 })), [2000, 2000, 2000, 4000, 30_000]);
});

test("jitter takes all of the window", () => {
  assert.deepEqual([0, 0.5, MOST].map((random) => waitAfter({ closed: null }, 1, random)),
    [0, 500, 999]);
});

test("what a server asks for is honoured within reason", () => {
  assert.equal(retry(TIMES, 0, 1200, MOST), 1200);
  assert.equal(retry(TIMES, 0, 0, MOST), 100);
  assert.equal(retry(TIMES, 0, Number.MAX_SAFE_INTEGER, MOST), 600_000);
  assert.equal(retry(TIMES, 3, null, MOST), 3999);
  assert.equal(retry(TIMES, 3, null, 0), 100);
  for (const afterMs of [0, 5000, Number.MAX_SAFE_INTEGER]) {
    const bye = { code: "draining", reconnect: true, after_ms: afterMs };
    const next = after({ closed: 4100 }, bye, 0, TIMES, 0);
    assert.deepEqual(next, { wait: Math.min(afterMs, 600_000) });
  }
});

test("the sterner of bye and close wins", () => {
  const bye = (reconnect) => ({ code: "closing", reconnect, after_ms: 0 });
  for (const code of [1006, 4100, 4200]) {
    const next = after({ closed: code }, bye(false), 0, TIMES, 0);
    assert.deepEqual(next, { stop: { name: "bye", code: "closing" } });
  }
  const next = after({ closed: 4300 }, bye(true), 0, TIMES, 0);
  assert.deepEqual(next, { stop: { name: "closed", code: 4300, advice: "stay_away" } });
});
