// The quiet line that says how the connection is.

import { byId, setText } from "./dom.js";
import { stopReasonOf } from "./reasons.js";

const TICK_MS = 500;

/** What the page calls the states of the Client. */
const NAMES = { online: "connected", connecting: "connecting", waiting: "waiting" };

export class StatusView {
  #state;
  #clock;
  #timer = null;
  /** Whether there was a connection before: then this one is made anew. */
  #again = false;

  /** `on`: `retry()`. */
  constructor(state, clock, on) {
    this.#state = state;
    this.#clock = clock;
    byId("status-retry").addEventListener("click", () => on.retry());
  }

  render() {
    const { connection } = this.#state;
    const name = NAMES[connection.name] ?? "closed";
    if (name === "connected") this.#again = true;
    byId("status").dataset.state = name;
    byId("status-retry").hidden = name !== "waiting" && name !== "closed";
    setText(byId("status-retry"), name === "closed" ? "Connect" : "Try now");
    setText(byId("status-text"), this.#textOf(name, connection));
    // Apart from the text, or a screen reader would tell every second.
    const left = name === "waiting" ? Math.ceil((connection.until - this.#clock.mono()) / 1000) : 0;
    setText(byId("status-wait"), left > 0 ? `in ${left} s` : "");
    clearTimeout(this.#timer);
    if (name === "waiting") this.#timer = setTimeout(() => this.render(), TICK_MS);
  }

  #textOf(name, { why }) {
    switch (name) {
      case "connected":
        return "Connected";
      case "connecting":
        return this.#again ? "Reconnecting…" : "Connecting…";
      case "waiting":
        return "Reconnecting…";
      default: {
        const reason = why ? stopReasonOf(why) : "";
        return reason ? `Disconnected: ${reason}` : "Disconnected";
      }
    }
  }
}
