import { RequestError, TransportError } from "../core/errors.js";
import { EventStreamParser, type StreamEvent } from "../core/eventstream.js";
import { parseAck, parseError, patienceMs, splitReason } from "../core/message.js";
import { Pump } from "../core/pump.js";
import { stronger } from "../core/reconcile.js";
import { pause } from "../core/timer.js";
import type { Link, OpenRequest, Transport } from "../transport.js";
import { parseJson, refusalOf, STREAM_OR_ERROR } from "./answer.js";
import type { Body, Door, PersonalStream } from "./personal.js";

/** How server-sent events are read. */
export interface SseOptions {
  /** Milliseconds without a byte after which a stream counts as lost; the server says something every 15 s. Default 40 s. */
  readonly idleTimeoutMs?: number;
  /** Milliseconds until the server must have answered; default 10 s. */
  readonly connectTimeoutMs?: number;
  /** Puts the token into the address, where proxies may log it, instead of the header. */
  readonly tokenInUrl?: boolean;
  /** What requests; default the global `fetch`. */
  readonly fetch?: typeof fetch;
}

/** Server-sent events: needs nothing but `fetch`, knows neither channels nor mode `every`. */
export function sse(options: SseOptions = {}): Transport {
  const place: Place = { covered: new Set() };
  return {
    every: false,
    channels: false,
    open: (request) => new SseLink(options, request, place).begin(),
  };
}

/** Where streams stopped: symbols that need not be sent from the start, and the newest id of them. */
interface Place {
  covered: ReadonlySet<string>;
  lastId?: string | undefined;
}

/** What a stream is asked for. */
interface Target {
  readonly symbols: Set<string>;
  readonly maxRate: number;
  readonly token: string | undefined;
}

interface Stream {
  readonly abort: AbortController;
  readonly target: Target;
}

/** Statuses that say that the same question would get the same answer. */
const NOT_TO_BE_HAD = [400, 403, 413, 414, 422, 431];

const NOTHING: Target = { symbols: new Set(), maxRate: 0, token: undefined };

/**
 * One stream at a time, opened anew whenever other symbols are wanted. The old one goes on until the new
 * one has begun. While nothing is wanted there is none, and the link counts as open.
 *
 * Events come on a stream of their own; what brings them is loaded when they are asked for.
 */
class SseLink implements Link, Door {
  readonly #options: SseOptions;
  readonly #request: OpenRequest;
  readonly #place: Place;
  readonly #pump = new Pump(() => this.#step());
  readonly aborts = new Set<AbortController>();
  closed = false;
  stream: Stream | undefined;
  #token: string | undefined;
  #personal: Promise<PersonalStream> | undefined;
  #open = false;

  constructor(options: SseOptions, request: OpenRequest, place: Place) {
    this.#options = options;
    this.#request = request;
    this.#place = place;
    this.#token = request.token;
    request.signal.addEventListener("abort", () => this.close(), { once: true });
  }

  /** Opens the first streams. */
  async begin(): Promise<Link> {
    await this.#pump.run();
    if (await this.#request.events()) await (await this.events()).listen(true);
    this.#open = true;
    return this;
  }

  sync(): Promise<void> {
    return this.#pump.run().catch((error: TransportError) => {
      this.end(error);
      throw error;
    });
  }

  async authenticate(token: string): Promise<void> {
    const before = this.#token;
    this.#token = token;
    try {
      await this.#pump.run();
    } catch (error) {
      // What there is goes on under the old one.
      this.#token = before;
      throw error;
    }
    await (await this.#personal)?.renew();
  }

  async getQuote(symbol: string): Promise<unknown> {
    const response = await this.send(`/api/v1/market/quote/${encodeURIComponent(symbol)}`, {});
    if (response.ok) return response.json().catch(() => undefined);
    const { code, message } = await refusalOf(response);
    throw new RequestError(code, message);
  }

  /** Loaded by those who ask for events. */
  events(): Promise<PersonalStream> {
    return (this.#personal ??= import("./personal.js").then(({ PersonalStream: Personal }) => new Personal(this)));
  }

  close(): void {
    this.closed = true;
    for (const abort of this.aborts) abort.abort();
    this.#drop();
  }

  async #step(): Promise<boolean> {
    const have = this.stream?.target ?? NOTHING;
    const target = this.#target();
    if (isSame(have, target) || this.closed) return false;
    this.#request.left([...have.symbols].filter((symbol) => !target.symbols.has(symbol)));
    if (target.symbols.size === 0) this.#drop();
    else await this.#replace(target);
    return true;
  }

  #target(): Target {
    const wants = this.#request.wants();
    if (wants.size === 0) return NOTHING;
    const { maxRate } = [...wants.values()].reduce(stronger);
    return { symbols: new Set(wants.keys()), maxRate, token: this.#token };
  }

  /** Opens a stream and lets it take the place of the one there is. */
  async #replace(target: Target): Promise<void> {
    const resume = [...target.symbols].every((symbol) => this.#place.covered.has(symbol) && this.#request.knows(symbol));
    const lastId = resume ? this.#place.lastId : undefined;
    const abort = new AbortController();
    const body = await this.#openBody(target, lastId, abort);
    if (!body) return;
    this.#drop();
    if (this.closed) return abort.abort();
    this.#place.covered = target.symbols;
    this.#place.lastId = lastId;
    this.stream = { abort, target };
    void this.#follow(this.stream, body);
  }

  /** The body of a new stream; undefined when none of the symbols is possible. */
  async #openBody(target: Target, lastId: string | undefined, abort: AbortController): Promise<Body | undefined> {
    const headers = { Accept: STREAM_OR_ERROR, ...(lastId && { "Last-Event-ID": lastId }) };
    const response = await this.send(streamPath(target), { headers }, abort);
    if (response.ok && response.body) return response.body.getReader();
    const refusal = await refusalOf(response);
    if (refusal.code === "CONNECTION_LIMIT" && this.stream) {
      // The stream that is there takes the place that the plan allows.
      this.#drop();
      return this.#openBody(target, lastId, abort);
    }
    if (refusal.code === "RATE_LIMITED" && this.stream) {
      // What flows goes on meanwhile, and the next step asks again.
      await pause(this.#request.timer, patienceMs(refusal.retryAfterMs), this.#request.signal);
      return undefined;
    }
    if (!NOT_TO_BE_HAD.includes(response.status)) throw refusal;
    this.#refuse(target.symbols, refusal.message);
    return undefined;
  }

  /** Has those refused that the server names; where it names none, what is new, for it took the rest before. */
  #refuse(symbols: ReadonlySet<string>, message: string): void {
    const reasons = new Map(message.split("; ").map(splitReason));
    const had = this.stream?.target.symbols;
    const all = [...symbols];
    const named = all.filter((symbol) => reasons.has(symbol));
    const fresh = all.filter((symbol) => !had?.has(symbol));
    for (const symbol of named[0] ? named : fresh[0] ? fresh : all) {
      this.#request.refused(symbol, reasons.get(symbol) ?? message);
    }
  }

  /** Requests, and waits for the head of the answer. */
  async send(path: string, init: RequestInit, abort = new AbortController()): Promise<Response> {
    const { fetch: send = globalThis.fetch, connectTimeoutMs = 10_000, tokenInUrl = false } = this.#options;
    const url = new URL(this.#request.url + path);
    const headers = new Headers(init.headers);
    if (this.#token && tokenInUrl) url.searchParams.set("token", this.#token);
    else if (this.#token) headers.set("Authorization", `Bearer ${this.#token}`);
    let cause = new TransportError("UNREACHABLE", "the server cannot be reached");
    const late = this.#request.timer(connectTimeoutMs, () => {
      cause = new TransportError("TIMEOUT", "the server did not answer in time");
      abort.abort();
    });
    this.aborts.add(abort);
    try {
      return await send(url, { ...init, headers, signal: abort.signal, cache: "no-store" });
    } catch {
      throw cause;
    } finally {
      late();
      this.aborts.delete(abort);
    }
  }

  /** Reads a stream to its end; resolves with why it ended. */
  async read(body: Body, abort: AbortController, hear: (event: StreamEvent) => unknown): Promise<TransportError> {
    const parser = new EventStreamParser();
    const decoder = new TextDecoder();
    const { idleTimeoutMs = 40_000 } = this.#options;
    let cause = new TransportError("LOST", "the stream ended");
    try {
      for (;;) {
        const silent = this.#request.timer(idleTimeoutMs, () => {
          cause = new TransportError("LOST", `nothing came for ${idleTimeoutMs} ms`);
          abort.abort();
        });
        const { done, value } = await body.read().finally(silent);
        if (done) break;
        for (const event of parser.push(decoder.decode(value, { stream: true }))) hear(event);
      }
    } catch {
      // The connection broke; `cause` says so, or something better.
    }
    return cause;
  }

  async #follow(stream: Stream, body: Body): Promise<void> {
    const cause = await this.read(body, stream.abort, (event) => this.#hear(stream, event));
    if (stream === this.stream) this.end(cause);
  }

  #hear(stream: Stream, { name, data, id }: StreamEvent): void {
    if (stream !== this.stream) return;
    if (id) this.#place.lastId = id;
    const payload = parseJson(data);
    if (name !== "subscribed") return this.take(name, payload);
    for (const [symbol, reason] of parseAck(payload).refused) {
      stream.target.symbols.delete(symbol);
      this.#request.refused(symbol, reason);
    }
  }

  /** Takes what a stream brings. */
  take(name: string, payload: unknown): void {
    const { code, message } = parseError(payload, name);
    if (name === "error" && code === "TOKEN_EXPIRED") this.end(new TransportError(code, message));
    else this.#request.event(name, payload);
  }

  #drop(): void {
    this.stream?.abort.abort();
    this.stream = undefined;
  }

  /** Ends the connection. */
  end(cause: TransportError): void {
    const told = this.#open && !this.closed;
    this.close();
    if (told) this.#request.lost(cause);
  }
}

function streamPath({ symbols, maxRate }: Target): string {
  const list = [...symbols].map(encodeURIComponent).join(",");
  return `/market-data/stream?symbols=${list}${maxRate > 0 ? `&maxRate=${maxRate}` : ""}`;
}

function isSame(one: Target, other: Target): boolean {
  const [mine, yours] = [one, other].map(({ symbols, maxRate, token }) => [maxRate, token, ...[...symbols].sort()].join());
  return mine === yours;
}
