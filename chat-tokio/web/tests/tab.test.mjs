import assert from "node:assert/strict";
import { test } from "node:test";
import { ChannelClaims, LockClaims, openClaims, Tab } from "../tab.js";
import { FakeClock, settle } from "./fakes.mjs";

/** `sessionStorage`; `copy` is what a duplicated tab gets. */
class FakeStorage {
  constructor(items = []) {
    this.items = new Map(items);
  }

  getItem = (name) => this.items.get(name) ?? null;

  setItem = (name, text) => {
    this.items.set(name, text);
  };

  copy = () => new FakeStorage(this.items);
}

/** `navigator.locks` of one origin. */
class FakeLocks {
  held = new Map();
  waiting = [];

  request(name, { signal }, call) {
    return new Promise((resolve, reject) => {
      const grant = () => {
        const done = Promise.resolve(call()).then(() => {
          this.held.delete(name);
          this.waiting.splice(0).forEach((again) => again());
          resolve();
        });
        this.held.set(name, done);
      };
      const attempt = () => {
        if (signal.aborted) return;
        if (this.held.has(name)) this.waiting.push(attempt);
        else grant();
      };
      signal.addEventListener("abort", () => reject(new Error("AbortError")));
      attempt();
    });
  }
}

/** `BroadcastChannel`s of one origin: each hears all the others. */
function fakeChannels() {
  const all = new Set();
  return class {
    constructor() {
      all.add(this);
    }

    postMessage(data) {
      for (const other of all) {
        if (other !== this) queueMicrotask(() => other.onmessage?.({ data }));
      }
    }
  };
}

const KINDS = {
  locks: () => {
    const locks = new FakeLocks();
    return (clock) => new LockClaims(locks, clock);
  },
  channels: () => {
    const Channel = fakeChannels();
    return (clock) => new ChannelClaims(new Channel(), clock);
  },
};

/** A browser in which tabs are opened. */
function browser(kind) {
  const clock = new FakeClock();
  const makeClaims = KINDS[kind]();
  let names = 0;
  const open = async (storage) => {
    const tab = new Tab({ storage, claims: makeClaims(clock), makeName: () => `tab ${++names}` });
    const loading = tab.load();
    await clock.advance(1000);
    return { tab, storage, saved: await loading };
  };
  return { clock, open };
}

for (const kind of Object.keys(KINDS)) {
  test(`${kind}: a reload finds what the page has left`, async () => {
    const { open } = browser(kind);
    const first = await open(new FakeStorage());
    assert.equal(first.saved, null);
    first.tab.save({ resume: { session: "s1" } });
    first.tab.release();
    await settle();
    const again = await open(first.storage);
    assert.deepEqual(again.saved.resume, { session: "s1" });
  });

  test(`${kind}: a duplicate finds nothing, and neither loses anything later`, async () => {
    const { open } = browser(kind);
    const first = await open(new FakeStorage());
    first.tab.save({ resume: { session: "s1" } });
    const copy = await open(first.storage.copy());
    assert.equal(copy.saved, null);
    copy.tab.save({ resume: { session: "s2" } });
    for (const [{ tab, storage }, session] of [[first, "s1"], [copy, "s2"]]) {
      tab.release();
      await settle();
      assert.deepEqual((await open(storage)).saved.resume, { session });
    }
  });

  test(`${kind}: a page out of a cache has its name, unless another took it`, async () => {
    const { open, clock } = browser(kind);
    const first = await open(new FakeStorage());
    first.tab.save({ resume: { session: "s1" } });
    first.tab.release();
    await settle();
    const back = first.tab.reclaim();
    await clock.advance(1000);
    assert.equal(await back, true);
    first.tab.release();
    await settle();
    const copy = await open(first.storage.copy());
    assert.deepEqual(copy.saved.resume, { session: "s1" });
    const late = first.tab.reclaim();
    await clock.advance(1000);
    assert.equal(await late, false);
  });
}

test("channels: of two that ask at the same time, one gets it", async () => {
  const { open } = browser("channels");
  const first = await open(new FakeStorage());
  first.tab.save({ resume: { session: "s1" } });
  first.tab.release();
  const both = await Promise.all([open(first.storage.copy()), open(first.storage.copy())]);
  assert.equal(both.filter(({ saved }) => saved !== null).length, 1);
});

test("a reload waits for its former self, but not for ever", async () => {
  const { open, clock } = browser("locks");
  const first = await open(new FakeStorage());
  first.tab.save({ resume: { session: "s1" } });
  clock.setTimeout(() => first.tab.release(), 300);
  assert.deepEqual((await open(first.storage)).saved.resume, { session: "s1" });
});

test("storage that is forbidden, full or full of nonsense is an empty one", async () => {
  const claims = { claim: async () => true, release() {} };
  const makeName = () => "tab";
  const throwing = { getItem() { throw new Error("no"); }, setItem() { throw new Error("no"); } };
  for (const storage of [null, throwing, new FakeStorage([["chat.tab", "{"]]),
    new FakeStorage([["chat.tab", "7"]]), new FakeStorage([["chat.tab", '{"tab":7}']])]) {
    const tab = new Tab({ storage, claims, makeName });
    assert.equal(await tab.load(), null);
    tab.save({ resume: null });
  }
});

test("without anything to claim with, everything is free", async () => {
  const clock = new FakeClock();
  assert.equal(await openClaims({ clock }).claim("x"), true);
  assert.ok(openClaims({ clock, locks: new FakeLocks() }) instanceof LockClaims);
  const Channel = fakeChannels();
  assert.ok(openClaims({ clock, BroadcastChannel: Channel }) instanceof ChannelClaims);
});
