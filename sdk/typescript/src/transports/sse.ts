import { RequestError, TransportError } from "../core/errors.js";
import { EventStreamParser, type StreamEvent } from "../core/eventstream.js";
import { fields, parseAck, parseError, splitReason } from "../core/message.js";
import { Pump } from "../core/pump.js";
import type { Link, OpenRequest, Transport } from "../transport.js";

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
  const place: Place = { covered: new Set(), lastId: undefined };
  return {
    every: false,
    channels: false,
    open: async (request) => {
      const link = new SseLink(options, request, place);
      await link.begin();
      return link;
    },
  };
}

/** Where streams stopped: symbols that need not be sent from the start, and the newest id of them. */
interface Place {
  covered: ReadonlySet<string>;
  lastId: string | undefined;
}

/** What a stream is asked for. */
interface Target {
  readonly symbols: Set<string>;
  readonly maxRate: number;
  readonly token: string | undefined;
}

interface Stream {
  readonly abort: AbortController;
  readonly body: ReadableStreamDefaultReader<Uint8Array>;
  readonly target: Target;
}

const NOTHING: Target = { symbols: new Set(), maxRate: 0, token: undefined };

/**
 * One stream at a time, opened anew whenever other symbols are wanted. The old one goes on until the new
 * one has begun. While nothing is wanted there is none, and the link counts as open.
 */
class SseLink implements Link {
  readonly #options: SseOptions;
  readonly #request: OpenRequest;
  readonly #place: Place;
  readonly #pump = new Pump(() => this.#step());
  readonly #closing = new AbortController();
  #token: string | undefined;
  #stream: Stream | undefined;
  #open = false;

  constructor(options: SseOptions, request: OpenRequest, place: Place) {
    this.#options = options;
    this.#request = request;
    this.#place = place;
    this.#token = request.token;
    request.signal.addEventListener("abort", () => this.close(), { once: true });
  }

  /** Opens the first stream. */
  async begin(): Promise<void> {
    await this.#pump.run();
    this.#open = true;
  }

  async sync(): Promise<void> {
    try {
      await this.#pump.run();
    } catch (error) {
      this.#end(error as TransportError);
      throw error;
    }
  }

  authenticate(token: string): Promise<void> {
    this.#token = token;
    return this.sync();
  }

  async getQuote(symbol: string): Promise<unknown> {
    const response = await this.#get(`/api/v1/market/quote/${encodeURIComponent(symbol)}`, {}, new AbortController());
    const body: unknown = await response.json().catch(() => undefined);
    if (response.ok) return body;
    const { code, message } = parseError(fields(body)["error"], `HTTP_${response.status}`);
    throw new RequestError(code, message);
  }

  close(): void {
    this.#open = false;
    this.#closing.abort();
    this.#drop();
  }

  async #step(): Promise<boolean> {
    const have = this.#stream?.target ?? NOTHING;
    const target = this.#target();
    if (isSame(have, target) || this.#closing.signal.aborted) return false;
    const gone = [...have.symbols].filter((symbol) => !target.symbols.has(symbol));
    if (gone.length > 0) this.#request.left(gone);
    if (target.symbols.size === 0) this.#drop();
    else await this.#replace(target);
    return true;
  }

  #target(): Target {
    const wants = this.#request.wants();
    const rates = [...wants.values()].map((want) => want.maxRate);
    const maxRate = rates.includes(0) ? 0 : Math.max(...rates, 0);
    return wants.size > 0 ? { symbols: new Set(wants.keys()), maxRate, token: this.#token } : NOTHING;
  }

  /** Opens a stream and lets it take the place of the one there is. */
  async #replace(target: Target): Promise<void> {
    const resume = [...target.symbols].every((symbol) => this.#place.covered.has(symbol) && this.#request.knows(symbol));
    const lastId = resume ? this.#place.lastId : undefined;
    const abort = new AbortController();
    const body = await this.#openBody(target, lastId, abort);
    if (!body) return;
    this.#drop();
    if (this.#closing.signal.aborted) return abort.abort();
    this.#place.covered = target.symbols;
    this.#place.lastId = lastId;
    this.#stream = { abort, body, target };
    void this.#read(this.#stream);
  }

  /** The body of a new stream; undefined when none of the symbols is possible. */
  async #openBody(
    target: Target,
    lastId: string | undefined,
    abort: AbortController,
  ): Promise<ReadableStreamDefaultReader<Uint8Array> | undefined> {
    const headers = { Accept: "text/event-stream", ...(lastId && { "Last-Event-ID": lastId }) };
    const response = await this.#get(streamPath(target), headers, abort);
    if (response.ok && response.body) return response.body.getReader();
    const refusal = await refusalOf(response);
    if (refusal.code === "CONNECTION_LIMIT" && this.#stream) {
      // The stream that is there takes the place that the plan allows.
      this.#drop();
      return this.#openBody(target, lastId, abort);
    }
    if (refusal.code !== "NOT_ENTITLED" && refusal.code !== "INVALID_MESSAGE") throw refusal;
    const reasons = new Map(refusal.message.split("; ").map(splitReason));
    this.#drop();
    for (const symbol of target.symbols) this.#request.refused(symbol, reasons.get(symbol) ?? refusal.message);
    return undefined;
  }

  /** Requests, and waits for the head of the answer. */
  async #get(path: string, headers: Record<string, string>, abort: AbortController): Promise<Response> {
    const { fetch: send = globalThis.fetch, connectTimeoutMs = 10_000, tokenInUrl = false } = this.#options;
    const url = new URL(this.#request.url + path);
    if (this.#token && tokenInUrl) url.searchParams.set("token", this.#token);
    const authorization = this.#token && !tokenInUrl ? { Authorization: `Bearer ${this.#token}` } : {};
    let cause = new TransportError("UNREACHABLE", "the server cannot be reached");
    const stop = (): void => abort.abort();
    const late = this.#request.timer(connectTimeoutMs, () => {
      cause = new TransportError("TIMEOUT", "the server did not answer in time");
      stop();
    });
    this.#closing.signal.addEventListener("abort", stop);
    try {
      return await send(url, { headers: { ...headers, ...authorization }, signal: abort.signal, cache: "no-store" });
    } catch {
      throw cause;
    } finally {
      late();
      this.#closing.signal.removeEventListener("abort", stop);
    }
  }

  async #read(stream: Stream): Promise<void> {
    const parser = new EventStreamParser();
    const decoder = new TextDecoder();
    const { idleTimeoutMs = 40_000 } = this.#options;
    let cause = new TransportError("LOST", "the stream ended");
    try {
      for (;;) {
        const silent = this.#request.timer(idleTimeoutMs, () => {
          cause = new TransportError("LOST", `nothing came for ${idleTimeoutMs} ms`);
          stream.abort.abort();
        });
        const { done, value } = await stream.body.read().finally(silent);
        if (done) break;
        for (const event of parser.push(decoder.decode(value, { stream: true }))) this.#hear(stream, event);
      }
    } catch {
      // The connection broke; `cause` says so, or something better.
    }
    if (stream === this.#stream) this.#end(cause);
  }

  #hear(stream: Stream, { name, data, id }: StreamEvent): void {
    if (stream !== this.#stream) return;
    if (id) this.#place.lastId = id;
    const payload = parseJson(data);
    if (name === "error" && fields(payload)["code"] === "TOKEN_EXPIRED") {
      this.#end(new TransportError("TOKEN_EXPIRED", parseError(payload, name).message));
    } else if (name === "subscribed") {
      for (const [symbol, reason] of parseAck(payload).refused) {
        stream.target.symbols.delete(symbol);
        this.#request.refused(symbol, reason);
      }
    } else {
      this.#request.event(name, payload);
    }
  }

  #drop(): void {
    this.#stream?.abort.abort();
    this.#stream = undefined;
  }

  #end(cause: TransportError): void {
    const told = this.#open && !this.#closing.signal.aborted;
    this.close();
    if (told) this.#request.lost(cause);
  }
}

function streamPath({ symbols, maxRate }: Target): string {
  const list = [...symbols].map(encodeURIComponent).join(",");
  return `/market-data/stream?symbols=${list}${maxRate > 0 ? `&maxRate=${maxRate}` : ""}`;
}

function isSame(one: Target, other: Target): boolean {
  const symbols = one.symbols.size === other.symbols.size && [...one.symbols].every((symbol) => other.symbols.has(symbol));
  return symbols && one.maxRate === other.maxRate && one.token === other.token;
}

/** Why there is no stream: the server's word where it gave one. */
async function refusalOf(response: Response): Promise<TransportError> {
  const body: unknown = await response.json().catch(() => undefined);
  const { code, message } = parseError(fields(body)["error"], `HTTP_${response.status}`);
  const seconds = Number(response.headers.get("Retry-After"));
  return new TransportError(code, message, Number.isFinite(seconds) ? seconds * 1_000 : 0);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
