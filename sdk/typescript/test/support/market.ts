import { TransportError } from "../../src/core/errors.js";
import type { BestPrice, EventFilter, MarketEvent } from "../../src/core/model.js";
import { Synchronizer } from "../../src/core/synchronizer.js";
import type { EventLink, Link, OpenRequest, Transport } from "../../src/transport.js";

/** A best price that is newer the larger its number is. */
export function price(symbol: string, number: number, changes: Partial<BestPrice> = {}): BestPrice {
  const side = { price: number, size: null, source: "a" };
  return { symbol, bestBid: side, bestAsk: side, midPrice: number, spread: 0, spreadBps: 0, timestamp: number, ...changes };
}

/** An event that matched the subscriptions of these names; without any it is for everybody. */
export function marketEvent(id: string, matched?: string[], changes: Partial<MarketEvent> = {}): MarketEvent {
  const event = { id, type: "pattern", name: "wedge", priority: "MEDIUM", timestamp: 1, data: {}, ...changes } as const;
  return matched ? { ...event, matched } : event;
}

type Answer = (event: string, payload: Record<string, unknown>) => unknown;

/** A server within the process: it takes connections, notes what it is told, and says what a test wants. */
export class Market implements Transport {
  readonly every: boolean = true;
  readonly channels: boolean = true;
  /** All connections that were tried, whether they were let in or not. */
  readonly tries: OpenRequest[] = [];
  /** Connections that were let in. */
  readonly connections: Connection[] = [];
  /** Codes with which the next tries are refused, in order; an empty one lets in. */
  refusals: string[] = [];
  /** The code with which every further try is refused. */
  closed = "";
  /** Subscriptions to events of the one user there is; they outlive connections. */
  readonly held = new Map<string, EventFilter>();
  /** What calls are answered with, instead of success. */
  answer: Answer | undefined;

  async open(request: OpenRequest): Promise<Link> {
    this.tries.push(request);
    await Promise.resolve();
    const refusal = this.refusals.shift() ?? this.closed;
    if (refusal) throw new TransportError(refusal, `refused: ${refusal}`);
    const connection = new Connection(this, request);
    this.connections.push(connection);
    return connection;
  }

  /** The connection that was made last. */
  get latest(): Connection {
    const last = this.connections.at(-1);
    if (!last) throw new Error("nobody has connected");
    return last;
  }
}

/** One connection, from the server's side, and what the client was given of it. */
export class Connection implements Link {
  /** Calls in order: the event and its payload. */
  readonly calls: [event: string, payload: Record<string, unknown>][] = [];
  readonly tokens: string[] = [];
  closed = false;
  /** Whether the client listens to events, each time that it said so. */
  readonly listened: boolean[] = [];
  /** While true, calls are noted and not answered. */
  mute = false;
  readonly #market: Market;
  readonly #request: OpenRequest;
  readonly #synchronizer: Synchronizer;
  #waiting: (() => void)[] = [];
  #lost: TransportError | undefined;

  constructor(market: Market, request: OpenRequest) {
    this.#market = market;
    this.#request = request;
    this.#synchronizer = new Synchronizer(request, (event, payload) => this.#take(event, payload as Record<string, unknown>));
  }

  sync(): Promise<void> {
    return this.#synchronizer.run();
  }

  authenticate(token: string): Promise<void> {
    this.tokens.push(token);
    return Promise.resolve();
  }

  getQuote(symbol: string): Promise<unknown> {
    return Promise.resolve({ symbol });
  }

  events(): EventLink {
    return {
      call: (event, payload) => this.#take(event, payload as Record<string, unknown>),
      listen: async (wanted) => void this.listened.push(wanted),
    };
  }

  close(): void {
    this.closed = true;
  }

  /** Sends prices as one `snapshot`. */
  snapshot(...prices: BestPrice[]): void {
    this.#request.event("snapshot", { prices });
  }

  /** Sends prices one by one. */
  send(...prices: BestPrice[]): void {
    for (const one of prices) this.#request.event("price", one);
  }

  /** Sends any event. */
  event(name: string, payload: unknown): void {
    this.#request.event(name, payload);
  }

  /** Ends, with the reason that a server or a network gives. */
  end(code = "LOST"): void {
    this.#lost = new TransportError(code, `ended: ${code}`);
    this.#request.lost(this.#lost);
  }

  /** Answers what was held back, and no longer holds back. */
  speak(): void {
    this.mute = false;
    for (const answer of this.#waiting.splice(0)) answer();
  }

  async #take(event: string, payload: Record<string, unknown>): Promise<unknown> {
    if (this.#lost) throw this.#lost;
    this.calls.push([event, payload]);
    if (this.mute) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    const { symbols, channels } = payload;
    const special = this.#market.answer?.(event, payload);
    return special ?? this.#answerEvents(event, payload) ?? { [`${event}d`]: symbols, channels };
  }

  #answerEvents(event: string, { name, filter }: Record<string, unknown>): unknown {
    const { held } = this.#market;
    if (event === "event_subscriptions") return { subscriptions: [...held].map(([each, its]) => ({ name: each, filter: its })) };
    if (event === "unsubscribe_events") return held.delete(String(name)), { unsubscribed: name };
    if (event === "subscribe_events") return held.set(String(name), filter as EventFilter), { subscribed: name, filter };
    return undefined;
  }
}
