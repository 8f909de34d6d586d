// When to come back, and when not. Pure, so that every rule can be tested as a table.

/** What a close code asks for: "fix_first" | "back_off" | "resume_now" | "stay_away". */
export function adviceOf(code) {
  if ([1002, 1003, 1007, 1008, 1009, 1010].includes(code)) return "fix_first";
  switch (Math.floor(code / 100)) {
    case 40:
      return "fix_first";
    case 42:
      return "resume_now";
    case 43:
      return "stay_away";
    default:
      return "back_off";
  }
}

const CODE_LOST = 1006;
/** Another credential is what has to be fixed. */
const CODES_TOKEN = [4001, 4003];
export const CODE_NORMAL = 1000;
export const CODE_TOO_BIG = 1009;
export const CODE_HEARTBEAT_TIMEOUT = 4201;

/**
 * Decides what follows a loss: `{ wait: ms }`, `{ token: true }` or `{ stop: why }`.
 *
 * `cause` is `{ closed: code or null }`, `{ refused: error }` (the `hello`), `{ noAnswer: true }`
 * or `{ givenUp: true }`; `bye` the server's parting frame or null; `losses` counts those before it
 * since the last sound connection.
 */
export function after(cause, bye, losses, times, random) {
  const growing = () => jitter(windowMs(times, losses), random);
  if (cause.refused) {
    const error = cause.refused;
    if (error.code === "unauthorized") return { token: true };
    if (!error.retryable) return { stop: { name: "refused", error } };
    const asked = Math.min(error.retry_after_ms ?? 0, times.retryMaxMs);
    return { wait: Math.max(asked, growing()) };
  }
  const code = cause.givenUp ? CODE_HEARTBEAT_TIMEOUT : (cause.closed ?? CODE_LOST);
  const advice = adviceOf(code);
  if (CODES_TOKEN.includes(code)) return { token: true };
  if (advice === "fix_first" || advice === "stay_away") {
    return { stop: { name: "closed", code, advice } };
  }
  if (bye !== null) {
    if (!bye.reconnect) return { stop: { name: "bye", code: bye.code } };
    const asked = Math.min(bye.after_ms, times.retryMaxMs);
    return { wait: asked + jitter(spreadMs(times, losses), random) };
  }
  if (advice === "resume_now") return { wait: jitter(spreadMs(times, losses), random) };
  return { wait: growing() };
}

/**
 * Returns how long to wait before a request that was refused, or did not help, is sent again;
 * `tries` counts those before it.
 */
export function retry(times, tries, afterMs, random) {
  const wait = afterMs === null
    ? jitter(windowMs(times, tries), random) : Math.min(afterMs, times.retryMaxMs);
  return Math.max(wait, times.retryMinMs);
}

/** The longest delay after this many losses: it doubles with each. */
function windowMs(times, n) {
  return Math.min(times.backoffBaseMs * 2 ** Math.min(n, 64), times.backoffMaxMs);
}

/**
 * The longest delay where one may come back at once. A server that says so again and again must not
 * be hammered: only the first time is free.
 */
function spreadMs(times, losses) {
  if (losses === 0) return times.resumeSpreadMs;
  return Math.max(times.resumeSpreadMs, windowMs(times, losses));
}

/** Full jitter: anything from 0 to the window, so that a crowd spreads out. */
function jitter(ms, random) {
  return Math.floor(ms * random);
}
