// When to come back after a connection ended. Pure, so that every rule can be tested as a table.

export const BACKOFF = { baseMs: 1000, capMs: 30_000 };
// 41xx says the server has too much to do: the first step is wider than for an unlucky network.
export const BUSY_BACKOFF = { baseMs: 5000, capMs: 60_000 };
const NOW_JITTER_MS = 1000;

/** Full jitter: anything between nothing and the exponential bound, so that a crowd spreads out. */
export function backoff(attempt, random, { baseMs, capMs } = BACKOFF) {
  return random() * Math.min(capMs, baseMs * 2 ** Math.min(attempt, 30));
}

/** What a close code asks for: "fix" | "busy" | "now" | "never" | "retry". */
export function adviceOf(code) {
  switch (Math.floor(code / 100)) {
    case 40:
      return "fix";
    case 41:
      return "busy";
    case 42:
      return "now";
    case 43:
      return "never";
    default:
      return "retry";
  }
}

/**
 * Decides what follows a lost connection: `{ stop: true, kind }` or `{ stop: false, delayMs }`.
 * `attempt` counts the losses in a row; `bye` is the server's parting frame, if there was one.
 */
export function afterLoss({ code, attempt, bye = null, atLeastMs = 0 }, random) {
  const advice = adviceOf(code);
  if (advice === "fix" || advice === "never") return { stop: true, kind: advice };
  if (bye?.reconnect === false) return { stop: true, kind: "never" };
  if (bye) {
    const after = Number.isFinite(bye.after_ms) ? Math.max(0, bye.after_ms) : 0;
    return { stop: false, delayMs: after + random() * NOW_JITTER_MS };
  }
  // A server that says "now" again and again must not be hammered: only the first time is free.
  if (advice === "now" && attempt === 0) {
    return { stop: false, delayMs: random() * NOW_JITTER_MS };
  }
  const bounds = advice === "busy" ? BUSY_BACKOFF : BACKOFF;
  return { stop: false, delayMs: Math.max(atLeastMs, backoff(attempt, random, bounds)) };
}
