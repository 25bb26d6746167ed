import { asError, MarketDataError } from "./core/errors.js";
import type { ConnectionState } from "./core/model.js";
import type { Retry } from "./core/retry.js";
import { pause, type Timer } from "./core/timer.js";
import type { Link, OpenRequest, Transport } from "./transport.js";

/**
 * Milliseconds after which a connection that nothing was asked of counts as healthy. Longer than an answer may
 * take: a server that answers no subscription must not seem healthy each time.
 */
const HEALTHY_AFTER_MS = 30_000;

/** What a transport is told anew for every connection, without what this module adds. */
export type Endpoint = Omit<OpenRequest, "token" | "signal" | "lost">;

/** What the connection depends on. */
export interface ConnectionOptions {
  readonly transport: Transport;
  readonly endpoint: Endpoint;
  readonly timer: Timer;
  /** Makes the counter of failures, one for each `start`. */
  readonly retry: () => Retry;
  /** Gives the token for an attempt. */
  readonly token: () => string | undefined | Promise<string | undefined>;
  /** The state has changed; the error says why, where there is a reason. */
  readonly onState: (state: ConnectionState, error: Error | undefined) => void;
}

/** The one connection of a client: makes it, and makes it again, until it is closed or given up. */
export class Connection {
  readonly #options: ConnectionOptions;
  #state: ConnectionState = "idle";
  #error: Error | undefined;
  #link: Link | undefined;
  #retry: Retry | undefined;
  #run: AbortController | undefined;
  #opened: Deferred | undefined;

  constructor(options: ConnectionOptions) {
    this.#options = options;
  }

  /** Where it is. */
  get state(): ConnectionState {
    return this.#state;
  }

  /** Why it is not connected, where there is a reason. */
  get error(): Error | undefined {
    return this.#error;
  }

  /** The connection, while there is one. */
  get link(): Link | undefined {
    return this.#link;
  }

  /** What waits. */
  get timer(): Timer {
    return this.#options.timer;
  }

  /** Starts it where it does not run; resolves when it is connected, rejects when it is given up or closed. */
  start(): Promise<void> {
    if (!this.#run) {
      this.#run = new AbortController();
      this.#opened = new Deferred();
      const opened = this.#opened.promise;
      this.#to("connecting");
      void this.#keep(this.#run.signal);
      return opened;
    }
    return this.#opened?.promise ?? Promise.resolve();
  }

  /** Ends it for good. */
  stop(): void {
    const link = this.#link;
    this.#link = undefined;
    this.#finish("closed");
    link?.close();
  }

  /** The server does what was asked of it: failures are counted anew. */
  healthy(link: Link): void {
    if (link === this.#link) this.#retry?.healthy();
  }

  /** Goes on under a new token. */
  async renew(): Promise<void> {
    const link = this.#link;
    const token = await this.#options.token();
    if (link && link === this.#link && token) await link.authenticate(token);
  }

  async #keep(run: AbortSignal): Promise<void> {
    const retry = this.#options.retry();
    this.#retry = retry;
    while (!run.aborted) {
      const cause = await this.#once(run, retry);
      if (run.aborted) return;
      const next = retry.next(cause);
      if (typeof next !== "number") return this.#finish("failed", next);
      this.#opened ??= new Deferred();
      this.#to(this.#state === "connecting" ? "connecting" : "reconnecting", cause);
      if (next > 0) await pause(this.#options.timer, next, run);
    }
  }

  /** Makes one connection and stays until its end; resolves with why it ended, or was not made. */
  async #once(run: AbortSignal, retry: Retry): Promise<Error> {
    const { transport, endpoint, timer, token } = this.#options;
    const attempt = new AbortController();
    const { promise: ended, resolve: lost } = new Deferred<Error>();
    const abort = (): void => {
      attempt.abort();
      lost(closed());
    };
    run.addEventListener("abort", abort);
    let unhealthy = (): void => {};
    try {
      const given = await token();
      if (run.aborted) throw closed();
      const link = await transport.open({ ...endpoint, token: given, signal: attempt.signal, lost });
      if (run.aborted) {
        link.close();
        throw closed();
      }
      retry.admitted();
      unhealthy = timer(HEALTHY_AFTER_MS, () => retry.healthy());
      this.#connected(link);
      return await ended;
    } catch (error) {
      attempt.abort();
      return asError(error);
    } finally {
      unhealthy();
      run.removeEventListener("abort", abort);
      if (!run.aborted) this.#link = undefined;
    }
  }

  #connected(link: Link): void {
    this.#link = link;
    this.#to("connected");
    this.#opened?.resolve();
    this.#opened = undefined;
  }

  #finish(state: "closed" | "failed", error?: Error): void {
    this.#run?.abort();
    this.#run = undefined;
    const opened = this.#opened;
    this.#opened = undefined;
    this.#to(state, error);
    opened?.reject(error ?? closed());
  }

  #to(state: ConnectionState, error?: Error): void {
    this.#error = error;
    if (state === this.#state) return;
    this.#state = state;
    this.#options.onState(state, error);
  }
}

/** A promise to settle from outside; who ignores its rejection has `state` and `error` to look at. */
class Deferred<T = void> {
  resolve!: (value: T) => void;
  reject!: (error: Error) => void;
  readonly promise = new Promise<T>((resolve, reject) => {
    this.resolve = resolve;
    this.reject = reject;
  });

  constructor() {
    this.promise.catch(() => {});
  }
}

function closed(): MarketDataError {
  return new MarketDataError("CLOSED", "the client was closed");
}
