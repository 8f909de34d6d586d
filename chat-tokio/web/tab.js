// What one tab remembers over a reload: its session, how far its rooms were shown, what is still to
// be sent. A duplicated tab gets a copy of all this; it must not take the session from the first
// one, nor send its messages once more. So whoever uses the memory claims its name, and who can't
// forgets.

const KEY = "chat.tab";
// A reloaded page may ask a moment before its former self is gone.
const CLAIM_MS = 500;
const ANSWER_MS = 200;
const CHANNEL = "chat.tabs";

export class Tab {
  #storage;
  #claims;
  #makeName;
  #name = null;
  #written = null;

  /** `claims.claim(name)` resolves to whether nobody else has it; `makeName()` draws a name. */
  constructor({ storage, claims, makeName }) {
    this.#storage = storage;
    this.#claims = claims;
    this.#makeName = makeName;
  }

  /** Returns what was saved, or null if there is nothing or it is another tab's. */
  async load() {
    const found = this.#read();
    if (typeof found?.tab === "string" && await this.#claims.claim(found.tab)) {
      this.#name = found.tab;
      return found;
    }
    this.#name = this.#makeName();
    await this.#claims.claim(this.#name);
    return null;
  }

  save(what) {
    if (this.#name === null) return;
    const text = JSON.stringify({ ...what, tab: this.#name });
    // Storage is synchronous and slow.
    if (text === this.#written) return;
    this.#written = text;
    try {
      this.#storage.setItem(KEY, text);
    } catch {
      // Forbidden or full: then a reload begins anew.
    }
  }

  /** Lets the name go, so that the page that comes next can have it. */
  release() {
    this.#claims.release();
  }

  /** A page that comes out of a cache has let its name go. Returns whether it is still free. */
  async reclaim() {
    if (await this.#claims.claim(this.#name)) return true;
    this.#name = this.#makeName();
    await this.#claims.claim(this.#name);
    return false;
  }

  #read() {
    try {
      return JSON.parse(this.#storage.getItem(KEY));
    } catch {
      return null;
    }
  }
}

/** The best claims that a browser has: locks exist in secure contexts only. */
export function openClaims({ locks, BroadcastChannel, clock }) {
  if (locks) return new LockClaims(locks, clock);
  if (BroadcastChannel) return new ChannelClaims(new BroadcastChannel(CHANNEL), clock);
  return { claim: async () => true, release() {} };
}

/** A claim is a lock, which the browser takes back when the page is gone. */
export class LockClaims {
  #locks;
  #clock;
  #release = () => {};

  constructor(locks, clock) {
    this.#locks = locks;
    this.#clock = clock;
  }

  claim(name) {
    const giveUp = new AbortController();
    const timer = this.#clock.setTimeout(() => giveUp.abort(), CLAIM_MS);
    return new Promise((resolve) => {
      const hold = () => new Promise((release) => {
        this.#clock.clearTimeout(timer);
        this.#release = release;
        resolve(true);
      });
      this.#locks.request(`chat.tab ${name}`, { signal: giveUp.signal }, hold)
        .catch(() => resolve(false));
    });
  }

  release() {
    this.#release();
  }
}

/** A claim is a question to all tabs, which whoever has the name answers. */
export class ChannelClaims {
  #channel;
  #clock;
  /** Tells this page from another one that asks for the same name at the same time. */
  #me = Math.random();
  #mine = null;
  #asked = null;

  constructor(channel, clock) {
    this.#channel = channel;
    this.#clock = clock;
    channel.onmessage = ({ data }) => this.#heard(data ?? {});
  }

  claim(name) {
    return new Promise((resolve) => {
      const settle = (free) => {
        this.#asked = null;
        this.#mine = free ? name : null;
        this.#clock.clearTimeout(timer);
        resolve(free);
      };
      const timer = this.#clock.setTimeout(() => settle(true), ANSWER_MS);
      this.#asked = { name, settle };
      this.#channel.postMessage({ ask: name, from: this.#me });
    });
  }

  release() {
    this.#mine = null;
  }

  #heard({ ask, taken, from }) {
    if (ask !== undefined) {
      // Of two that ask at the same time one gives way, whichever of them was heard.
      const asksToo = this.#asked?.name === ask;
      if (asksToo && this.#me >= from) this.#asked.settle(false);
      else if (asksToo || this.#mine === ask) this.#channel.postMessage({ taken: ask });
    }
    if (taken !== undefined && this.#asked?.name === taken) this.#asked.settle(false);
  }
}
