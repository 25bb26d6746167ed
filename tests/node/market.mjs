// Two generations of the stock Socket.IO client that write down all they see, and a publisher.
import { io as latest } from "socket.io-client";
import { io as older } from "socket.io-client-3";

export const GENERATIONS = { 4.8: latest, 3.1: older };
export const WAYS = {
  websocket: ["websocket"],
  polling: ["polling"],
  upgrade: ["polling", "websocket"],
};

const started = Date.now();

/** Waits until something is true; a limit only bounds a failure. */
export async function until(predicate, what, limit = 15000) {
  const deadline = Date.now() + limit;
  for (;;) {
    const value = predicate();
    if (value) return value;
    if (Date.now() > deadline) throw new Error(`${what} did not come true`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** A BestPrice whose middle is `n` and which is newer than every smaller one. */
export function price(symbol, n) {
  return {
    symbol,
    bestBid: { price: n - 0.5, size: 10, source: "a" },
    bestAsk: { price: n + 0.5, size: null, source: "b" },
    midPrice: n,
    spread: 1,
    spreadBps: 1,
    timestamp: started + n,
  };
}

/** Publishes best prices over HTTP. */
export async function publish(url, token, prices) {
  const answer = await fetch(`${url}/api/v1/market/publish`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: JSON.stringify({ prices }),
  });
  const { accepted } = await answer.json();
  if (accepted !== prices.length) throw new Error(`${accepted} of ${prices.length} prices were accepted`);
}

/** One client; `seen` is every event, answer and state in the order in which it was told. */
export class Client {
  constructor(generation, way, url, token, auth = { token }) {
    this.seen = [];
    this.socket = GENERATIONS[generation](`${url}/market-data`, {
      transports: WAYS[way],
      auth,
      forceNew: true,
      reconnection: false,
    });
    const note = (name) => (data) => this.note(name, data ?? null);
    this.socket.on("connect", note("connect"));
    this.socket.on("disconnect", note("disconnect"));
    this.socket.on("connect_error", (error) =>
      this.note("connect_error", { message: error.message, data: error.data ?? null }),
    );
    this.socket.onAny((name, ...data) => this.note(name, ...data));
  }

  get transport() {
    return this.socket.io.engine.transport.name;
  }

  note(...entry) {
    this.seen.push(entry);
  }

  named(name) {
    return this.seen.filter((entry) => entry[0] === name).map((entry) => entry[1]);
  }

  until(name, count = 1) {
    return until(() => this.named(name).length >= count, `${count} of ${name} in ${JSON.stringify(this.seen)}`);
  }

  /** Makes a call and returns its answer, which is also noted as `ack NAME`. */
  async call(name, ...payload) {
    let answered = false;
    let reply;
    this.socket.emit(name, ...payload, (value) => {
      answered = true;
      reply = value;
      this.note(`ack ${name}`, value);
    });
    await until(() => answered, `the answer to ${name}`);
    return reply;
  }

  close() {
    this.socket.disconnect();
  }
}

/** Prints one JSON value on one line. */
export function tell(value) {
  console.log(JSON.stringify(value));
}
