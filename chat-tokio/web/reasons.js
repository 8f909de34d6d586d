// Why something was not done, in words for people.

const REASONS = {
  too_large: "it is longer than the server takes.",
  invalid_content: "the server does not take this text.",
  idempotency_conflict: "the server takes it for another message.",
  forbidden: "you may not be in this room.",
  auth_unavailable: "the server can't check who you are at the moment.",
  not_member: "you are not in this room.",
  room_full: "the room is full.",
  rooms_exhausted: "the server has no place for another room.",
  too_many_rooms: "you are in too many rooms.",
  too_many_sessions: "you are connected too many times.",
  invalid_name: "the server does not take this name.",
  rate_limited: "too many messages at once.",
  full: "too many messages are waiting already.",
  expired: "it waited for more than a day. It may have been sent.",
  stopped: "the connection was ended.",
  log_replaced: "the room's log was replaced by another one. It may be gone.",
  log_unavailable: "the server can't store it at the moment.",
  unknown_outcome: "the server does not know whether it was stored.",
  draining: "the server is leaving service.",
};

/** The reason of an error or of an outcome; if it is not known here, in the server's words. */
export function reasonOf({ code, message = "" }) {
  return REASONS[code] ?? (message || "the server refused it.");
}

/** Why nothing comes by itself any more. */
export function stopReasonOf({ name, code, error }) {
  switch (name) {
    case "closed":
      if (code === 4300) return "this session goes on in another window";
      if (code === 4301) return "an operator has closed it";
      return `the server closed (${code})`;
    case "bye":
      return "the server asked not to come back";
    case "refused":
      return error.message || error.code;
    case "unauthorized":
      return "the server wants to know who you are, by a token";
    default:
      return "";
  }
}
