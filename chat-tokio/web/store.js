// What a browser remembers between visits. Storage may be forbidden or full: then we just forget.

export class Store {
  #storage;
  #prefix;
  #written = new Map();

  constructor(storage, prefix = "chat.") {
    this.#storage = storage;
    this.#prefix = prefix;
  }

  get(name, fallback) {
    try {
      const text = this.#storage.getItem(this.#prefix + name);
      return text === null ? fallback : JSON.parse(text);
    } catch {
      return fallback;
    }
  }

  set(name, value) {
    const text = JSON.stringify(value);
    // Storage is synchronous and slow, and most of what is drawn changes nothing in it.
    if (this.#written.get(name) === text) return;
    this.#written.set(name, text);
    try {
      this.#storage.setItem(this.#prefix + name, text);
    } catch {
      // Private mode or quota: nothing here is worth an error message.
    }
  }
}

/** Of one tab, which outlives a reload. */
export function openTabStore() {
  return new Store(openTabStorage());
}

/** Reading the property itself may throw where cookies are blocked. */
export function openStore() {
  try {
    return new Store(globalThis.localStorage);
  } catch {
    return new Store(null);
  }
}

/** Storage of one tab, which outlives a reload; null where it is forbidden. */
export function openTabStorage() {
  try {
    return globalThis.sessionStorage;
  } catch {
    return null;
  }
}
