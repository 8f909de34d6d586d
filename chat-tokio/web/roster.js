// Who is in a room and who is typing. Several sessions of one user are one line.

import { lookOf } from "./text.js";

export const TYPING_MS = 6000;
/** Users that are listed by name, and that are shown typing; the count beside them is of all. */
export const USERS_MAX = 1000;
const TYPING_MAX = 100;
// One collator for all: making one for each comparison is what makes localeCompare slow.
const byName = new Intl.Collator();

export class Roster {
  constructor() {
    this.count = 0;
    this.users = new Map();
    this.typing = new Map();
  }

  /** `{ count, members }` of a joined or members reply. Members are a sample in a large room. */
  replace({ count, members } = {}) {
    this.users.clear();
    for (const member of Array.isArray(members) ? members : []) this.#add(member);
    this.count = Number.isSafeInteger(count) ? count : this.#sessions();
  }

  join(member) {
    this.#add(member);
    this.count += 1;
  }

  leave({ user }) {
    this.typing.delete(user);
    this.count = Math.max(0, this.count - 1);
    const entry = this.users.get(user);
    if (!entry) return;
    entry.sessions -= 1;
    if (entry.sessions <= 0) this.users.delete(user);
  }

  setTyping({ user, username, active }, now) {
    if (active === false) this.typing.delete(user);
    else if (this.typing.has(user) || this.typing.size < TYPING_MAX) {
      this.typing.set(user, { username, until: now + TYPING_MS });
    }
  }

  stopTyping(user) {
    return this.typing.delete(user);
  }

  /** Names of those typing now, and when to look again (null: nobody is). */
  typingNow(now) {
    for (const [user, { until }] of this.typing) {
      if (until <= now) this.typing.delete(user);
    }
    const entries = [...this.typing.values()];
    const next = entries.length > 0 ? Math.min(...entries.map((entry) => entry.until)) : null;
    return { names: entries.map((entry) => entry.username), next };
  }

  /** Ourselves first, then by name, then by id. */
  sorted(self) {
    const rank = (user) => (self.users.has(user) ? 0 : 1);
    return [...this.users]
      .map(([user, entry]) => ({ user, ...entry }))
      .sort((a, b) => rank(a.user) - rank(b.user)
        || byName.compare(a.username, b.username) || (a.user < b.user ? -1 : 1));
  }

  #add({ user, username }) {
    if (typeof user !== "string") return;
    const entry = this.users.get(user);
    if (entry) entry.sessions += 1;
    else if (this.users.size < USERS_MAX) {
      this.users.set(user, { username: String(username ?? user), sessions: 1 });
    }
  }

  #sessions() {
    let sum = 0;
    for (const entry of this.users.values()) sum += entry.sessions;
    return sum;
  }
}

/**
 * The looks that more than one user of a room bears, among members and authors. All our own ids are
 * one person: our earlier messages must not make us a stranger to ourselves.
 */
export function sharedLooks(roster, messages, self) {
  const bearers = new Map();
  const shared = new Set();
  const note = (user, username) => {
    const look = lookCached(username);
    const who = self.users.has(user) ? "" : user;
    if (!bearers.has(look)) bearers.set(look, who);
    else if (bearers.get(look) !== who) shared.add(look);
  };
  for (const [user, { username }] of roster.users) note(user, username);
  for (const { user, username } of messages) note(user, String(username ?? user));
  return shared;
}

const looks = new Map();
const LOOKS_MAX = 5000;

export function lookCached(username) {
  let look = looks.get(username);
  if (look === undefined) {
    if (looks.size >= LOOKS_MAX) looks.clear();
    look = lookOf(username);
    looks.set(username, look);
  }
  return look;
}
