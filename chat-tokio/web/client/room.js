// A room that the application has joined, or is leaving.

import { retry } from "./backoff.js";
import { GapRepair } from "./gap.js";
import { Sends } from "./outbox.js";

/** What a Client knows of a room. */
export class Room {
  constructor(name) {
    /** As the server spells it, once that is known. */
    this.name = name;
    /** What is wanted: "stay", "leave" (once all is said) or "leave_and_join". */
    this.intent = "stay";
    /** How far it is on this connection: `out`, `resuming` (`hello` named it), `joining` or
        `parting` (with the request that is not answered), `in` (entries come). */
    this.stage = { name: "out" };
    /** The server may have the session in the room on this connection. */
    this.entered = false;
    this.position = null;
    /** The entries delivered so far are void, and the application was not told yet. */
    this.renounced = false;
    this.gap = new GapRepair();
    this.sends = new Sends();
    /** Joins and leaves in a row that were refused for a while, and when the next may be tried. */
    this.tries = 0;
    this.wait = null;
    /** When typing was last told, if it was not ended since. */
    this.typing = null;
  }

  isAt(stage, request) {
    return this.stage.name === stage && this.stage.request === request;
  }

  get isIn() {
    return this.stage.name === "in";
  }

  /**
   * Decides what comes next: `{ join }`, `{ page: after }`, `{ send }`, `{ leave }` or `{ wait }`
   * (until then; null: until something happens). A leave comes after all that is to be said.
   */
  next(now, config, user) {
    const leaves = this.intent !== "stay" && this.sends.isEmpty;
    const waits = this.wait !== null && this.wait > now;
    switch (this.stage.name) {
      case "in":
      case "out":
        if (!leaves && this.isIn) return this.#nextInside(now, config, user);
        if (waits) return { wait: this.wait };
        return leaves ? { leave: true } : { join: true };
      default:
        return { wait: null };
    }
  }

  #nextInside(now, config, user) {
    const due = this.gap.due();
    if (this.position !== null && due !== null && due <= now) return { page: this.position.cursor };
    const { send, at } = this.sends.eligible(now, config.window, user, this.#isIncomplete());
    if (send) return { send };
    const times = [due, at ?? null].filter((time) => time !== null);
    return { wait: times.length > 0 ? Math.min(...times) : null };
  }

  /**
   * Returns true if a message that is not among the delivered entries may be in the log. An
   * announcement that nothing confirms does not hold back messages.
   */
  #isIncomplete() {
    if (!this.position?.isBehind()) return false;
    return this.position.buffered > 0 || !this.gap.isUnconfirmed();
  }

  /** Tells whether the room is to be forgotten: it is left, and all is said. */
  isDone() {
    const left = this.stage.name === "out" && !this.entered;
    return left && this.intent !== "stay" && this.sends.isEmpty;
  }

  /** Schedules a page if entries are missing. `advanced`: entries were delivered. */
  reviewGap(now, times, advanced, evidence) {
    if (this.position?.isBehind()) this.gap.missing(now, times, advanced, evidence);
    else this.gap.complete(advanced);
  }

  /** Notes that the session is in the room. */
  enter() {
    this.stage = { name: "in" };
    this.entered = true;
    this.tries = 0;
    this.wait = null;
  }

  /** Notes that the session is not in the room any more, though it does not want to leave. */
  dropOut() {
    this.stage = { name: "out" };
    this.entered = false;
    this.gap.interrupt();
  }

  /** Notes that a join or leave was not done and may be tried again later. */
  refusedForNow(now, config, afterMs, random) {
    this.wait = now + retry(config.times, this.tries, afterMs, random);
    this.tries += 1;
    this.stage = { name: "out" };
  }

  /** Notes that the connection is gone. */
  cut() {
    this.dropOut();
    this.typing = null;
    this.tries = 0;
    this.wait = null;
    this.sends.cut();
  }
}
