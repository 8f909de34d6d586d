// When a room's missing entries are paged for. Pure.

import { retry } from "./backoff.js";

/** Pages in a row that bring nothing before something else is tried. */
const FRUITLESS_MAX = 4;

/** What is done about entries that are known to be missing. */
export class Heal {
  /** The page that was asked for, and the place after which. */
  #asked = null;
  /** When the next page may be asked for. */
  #due = null;
  /** What is missing will not come by itself. */
  #proven = false;
  /** Pages in a row that contradict themselves: they are empty, and there is more. */
  #fruitless = 0;
  /** Pages in a row that were refused for a while, not answered, or empty. */
  #tries = 0;
  /** The connection was made anew already because pages brought nothing. */
  #relinked = false;

  /**
   * Looks at a room anew: it is behind, or not. `moved`: the cursor has moved. `evidence`: entries
   * are known to be missing by a "claim" (they exist, and may yet come by themselves) or by "proof"
   * (they were passed over).
   */
  review(now, times, isBehind, moved, evidence) {
    // Who has doubted a claim does not make the connection anew for the next one.
    if (!isBehind) return this.#clear({ relinked: this.#relinked && !moved });
    this.#proven ||= evidence === "proof";
    if (moved) this.#clear({ proven: this.#proven });
    if (this.#asked !== null) return;
    const heldBack = this.#fruitless > 0 || this.#tries > 0;
    if (this.#due !== null && (heldBack || !this.#proven)) return;
    this.#due = this.#proven ? now : now + times.graceMs;
  }

  /** Returns when a page is to be asked for, or null. */
  due() {
    return this.#asked === null ? this.#due : null;
  }

  /** Notes that a page was asked for. */
  ask(request, after) {
    this.#asked = { request, after };
    this.#due = null;
  }

  /** Takes the place after which a page was asked for, if the request is about it; else null. */
  answered(request) {
    if (this.#asked?.request !== request) return null;
    const { after } = this.#asked;
    this.#asked = null;
    return after;
  }

  /**
   * Notes that a page brought nothing, and decides what to do: "again" (after a while), "relink"
   * (make the connection anew), "give_up" (take what is missing for lost) or "doubt" (that there is
   * more). `what` it says is a "contradiction" (there is more, which can't be) or "not_yet" (the
   * server may not be there yet, which is no proof of a loss). `isProven`: entries came from beyond
   * what is missing.
   */
  fruitless(what, isProven, now, times, random) {
    const contradicts = what === "contradiction";
    if (contradicts) this.#fruitless += 1;
    else this.#tries += 1;
    const tries = contradicts ? this.#fruitless : this.#tries;
    const many = tries >= FRUITLESS_MAX;
    if (many && !this.#relinked) {
      this.#relinked = true;
      return "relink";
    }
    if (many && contradicts) return "give_up";
    if (many && !isProven) return "doubt";
    this.#due = now + retry(times, tries - 1, null, random);
    return "again";
  }

  /** Notes that a page was refused for a while. */
  refused(now, times, afterMs, random) {
    this.#due = now + retry(times, this.#tries, afterMs, random);
    this.#tries += 1;
  }

  /** Notes that the room was left or is joined anew: nothing is under way any more. */
  interrupt() {
    this.#asked = null;
    this.#clear({ relinked: this.#relinked });
  }

  /** Notes that the log could not be the one that was asked; fruitless pages go on counting. */
  rejoin() {
    this.#asked = null;
  }

  #clear({ proven = false, relinked = false } = {}) {
    this.#due = null;
    this.#proven = proven;
    this.#fruitless = 0;
    this.#tries = 0;
    this.#relinked = relinked;
  }
}
