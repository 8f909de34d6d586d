// A clock that moves only when told, a socket without a network, and a small server behind it.

export class FakeClock {
  constructor() {
    this.time = 0;
    this.wallOffset = 1_700_000_000_000;
    this.timers = new Map();
    this.nextTimer = 1;
  }

  mono = () => this.time;

  wall = () => this.time + this.wallOffset;

  setTimeout = (call, ms) => {
    const timer = this.nextTimer++;
    this.timers.set(timer, { at: this.time + Math.max(0, ms), call });
    return timer;
  };

  clearTimeout = (timer) => {
    this.timers.delete(timer);
  };

  /** Moves on, running what falls due in order, and lets promises settle in between. */
  async advance(ms) {
    const end = this.time + ms;
    await settle();
    for (;;) {
      const due = [...this.timers].filter(([, { at }]) => at <= end)
        .sort((a, b) => a[1].at - b[1].at || a[0] - b[0])[0];
      if (!due) break;
      this.timers.delete(due[0]);
      this.time = Math.max(this.time, due[1].at);
      due[1].call();
      await settle();
    }
    this.time = end;
    await settle();
  }
}

/** Long enough for chains of awaits: a macrotask of the real loop. */
export function settle() {
  return new Promise((resolve) => setImmediate(resolve));
}

export function fakeNetwork() {
  const sockets = [];
  class FakeSocket {
    constructor(url, protocols) {
      Object.assign(this, { url, protocols, readyState: 0, sent: [], closedWith: null });
      sockets.push(this);
    }

    send(text) {
      if (this.readyState === 0) throw new Error("InvalidStateError");
      const frame = JSON.parse(text);
      this.sent.push(frame);
      this.onsent?.(frame);
    }

    close(code) {
      if (code !== 1000 && (code < 3000 || code > 4999)) throw new Error("InvalidAccessError");
      this.readyState = 3;
      this.closedWith = code ?? null;
    }

    open() {
      this.readyState = 1;
      this.onopen?.({});
    }

    deliver(frame) {
      const data = typeof frame === "string" ? frame : JSON.stringify(frame);
      this.onmessage?.({ data });
    }

    cut(code = 1006) {
      this.readyState = 3;
      this.onclose?.({ code });
    }
  }
  return { sockets, WebSocket: FakeSocket, get socket() { return sockets.at(-1); } };
}

/** An entry of a log, as the decoder reads it. */
export function entry(seq, more = {}) {
  return { type: "message", room: "lobby", seq, ts: seq * 1000, user: "guest-9", username: "Bo",
    content: `text ${seq}`, reply_to: null, key: `key ${seq}`, ...more };
}

export function entries(from, to) {
  return Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => entry(from + i));
}

/**
 * Answers as the server would, out of one log per room and with sessions; `faults(frame, socket)`
 * may take a request over.
 */
export class FakeServer {
  constructor(network) {
    this.network = network;
    this.logs = new Map();
    this.keys = new Map();
    this.sessions = new Map();
    this.epoch = "e1";
    this.faults = null;
    this.limits = {};
  }

  log(room) {
    if (!this.logs.has(room)) this.logs.set(room, []);
    return this.logs.get(room);
  }

  /** Puts a message in the log and delivers it to whoever is there. */
  say(room, content, { user = "guest-9", username = "Bo", key = null } = {}) {
    const log = this.log(room);
    const message = entry(log.length + 1, { room, user, username, content,
      key: key ?? `server ${log.length + 1}` });
    log.push(message);
    this.keys.set(`${user} ${room} ${message.key}`, message);
    const { socket } = this.network;
    if (socket?.readyState === 1 && socket.joined?.has(room)) socket.deliver(message);
    return message;
  }

  /** Takes the newest socket into service. */
  accept() {
    const { socket } = this.network;
    socket.joined = new Set();
    socket.onsent = (frame) => queueMicrotask(() => this.#answer(socket, frame));
    socket.open();
  }

  #answer(socket, frame) {
    if (socket.readyState !== 1 || this.faults?.(frame, socket)) return;
    const reply = (fields) => {
      if (socket.readyState === 1) socket.deliver({ ...fields, id: frame.id });
    };
    const room = frame.room?.toLowerCase();
    switch (frame.type) {
      case "hello":
        return this.#hello(socket, frame, reply);
      case "join":
        return this.#join(socket, frame, room, reply);
      case "leave":
        socket.joined.delete(room);
        return reply({ type: "left", room });
      case "history":
        return reply(this.#page(frame, room));
      case "message":
        return this.#message(socket, frame, room, reply);
      case "rooms":
        return reply({ type: "rooms", rooms: [{ room: "lobby", members: 1 }], has_more: false });
      case "ping":
        return reply({ type: "pong" });
      default:
    }
  }

  #hello(socket, { name, resume }, reply) {
    const resumed = this.sessions.has(resume?.session);
    const session = resumed ? resume.session : `s${this.sessions.size + 1}`;
    if (!resumed) this.sessions.set(session, `guest-${this.sessions.size + 1}`);
    socket.user = this.sessions.get(session);
    const rooms = {};
    for (const [room, { epoch, seq }] of Object.entries(resume?.rooms ?? {})) {
      const head = this.log(room).length;
      const recovered = epoch === this.epoch && seq <= head;
      rooms[room] = recovered ? { recovered, epoch, head } : { recovered, reason: "epoch_changed" };
      if (recovered) socket.joined.add(room);
    }
    reply({ type: "welcome", session, user: socket.user, name, resumed, durability: "disk",
      heartbeat_ms: 25_000, limits: this.limits, features: ["typing"], rooms });
    for (const room of socket.joined) {
      this.log(room).slice(resume.rooms[room].seq).forEach((message) => socket.deliver(message));
      socket.deliver({ type: "members", room, count: 1,
        members: [{ user: socket.user, username: "Ada" }] });
    }
  }

  #join(socket, frame, room, reply) {
    const log = this.log(room);
    const events = log.slice(-frame.history);
    socket.joined.add(room);
    reply({ type: "joined", room, epoch: this.epoch, head: log.length, events,
      members: { count: 1, members: [{ user: socket.user, username: "Ada" }] },
      has_more_before: log.length > events.length });
  }

  #page({ before, after, limit }, room) {
    const log = this.log(room);
    const older = before !== undefined;
    const all = log.filter(({ seq }) => (older ? seq < before : seq > after));
    const events = older ? all.slice(-limit) : all.slice(0, limit);
    return { type: "page", room, epoch: this.epoch, events,
      has_more_before: older ? all.length > events.length : after > 0,
      has_more_after: older || all.length > events.length };
  }

  #message(socket, frame, room, reply) {
    const name = `${socket.user} ${room} ${frame.key}`;
    const known = this.keys.get(name);
    const author = { user: socket.user, username: "Ada", key: frame.key };
    const message = known ?? this.say(room, frame.content, author);
    reply({ type: "ack", room, seq: message.seq, ts: message.ts, duplicate: Boolean(known) });
  }
}
