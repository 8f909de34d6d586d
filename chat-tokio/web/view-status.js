// The quiet line that says how the connection is.

import { byId, setText } from "./dom.js";

const TICK_MS = 500;

export class StatusView {
  #connection;
  #clock;
  #timer = null;

  constructor(connection, clock) {
    this.#connection = connection;
    this.#clock = clock;
    byId("status-retry").addEventListener("click", () => connection.retryNow());
  }

  render() {
    const { state } = this.#connection;
    byId("status").dataset.state = state.name;
    byId("status-retry").hidden = state.name !== "waiting" && state.name !== "closed";
    setText(byId("status-retry"), state.name === "closed" ? "Connect" : "Try now");
    setText(byId("status-text"), this.#textOf(state));
    byId("status").title = state.reason ?? "";
    clearTimeout(this.#timer);
    if (state.name === "waiting") this.#timer = setTimeout(() => this.render(), TICK_MS);
  }

  #textOf(state) {
    switch (state.name) {
      case "connected":
        return "Connected";
      case "connecting":
        return "Connecting…";
      case "waiting": {
        const left = Math.ceil((state.retryAt - this.#clock.now()) / 1000);
        return left > 0 ? `Reconnecting in ${left} s` : "Reconnecting…";
      }
      default:
        return state.reason ? `Disconnected: ${state.reason}` : "Disconnected";
    }
  }
}
