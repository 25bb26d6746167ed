/**
 * The seam between the client and a way to reach the server.
 *
 * A transport makes connections, one at a time, and never again by itself: when one is lost it says so
 * and the client decides. What it is told to watch it pulls from the client, so that it can catch up
 * with changes that came while it was busy.
 */

import type { Timer } from "./core/timer.js";
import type { TransportError } from "./core/errors.js";
import type { Wants } from "./core/model.js";

/** What a connection needs from the client, and where it tells what happens. */
export interface OpenRequest {
  /** The server's base URL, without a slash at its end. */
  readonly url: string;
  readonly token: string | undefined;
  readonly timer: Timer;
  /** Aborted when the connection is not wanted any more while it is being made, or could not be made. */
  readonly signal: AbortSignal;
  /** The symbols to watch, as of now. */
  wants(): Wants;
  /** The channels to listen to, as of now. */
  channels(): ReadonlySet<string>;
  /** Whether events are listened to. */
  events(): Promise<boolean>;
  /** Whether a price of the symbol was delivered since it was wanted. */
  knows(symbol: string): boolean;
  /** Something came from the server. */
  event(name: string, payload: unknown): void;
  /** The server does not deliver a symbol or channel; `wants` or `channels` lack it afterwards. */
  refused(name: string, reason: string): void;
  /** Values of these symbols or channels are not kept up to date any more, from now on. */
  left(names: readonly string[]): void;
  /** The connection is gone; said once, after it was opened and unless `close` was called. */
  lost(cause: TransportError): void;
}

/** A connection that the server has admitted. */
export interface Link {
  /** Brings the server in line with what is wanted; resolves when nothing is left to say. */
  sync(): Promise<void>;
  /** Goes on under another token. Rejects with a `RequestError` when the server does not take it. */
  authenticate(token: string): Promise<void>;
  /** One symbol's quote, as the server sent it. Rejects with a `RequestError` when there is none. */
  getQuote(symbol: string): Promise<unknown>;
  /** How event streams are reached; absent where the transport has none. The same one each time. */
  events?(): EventLink | Promise<EventLink>;
  /** Ends it without another word. */
  close(): void;
}

/** What a connection does for event streams; all of it rejects when the connection is gone. */
export interface EventLink {
  /** Makes a call; resolves with its answer, {error, code, retryAfterMs?} where it failed. */
  call(event: string, payload: object): Promise<unknown>;
  /** Begins or ends to bring events to the client, as `events`; resolves as `call` does. */
  listen(wanted: boolean): Promise<unknown>;
}

/** A way to reach the server. */
export interface Transport {
  /** Whether it can deliver all values in order. */
  readonly every: boolean;
  /** Whether it can deliver channels. */
  readonly channels: boolean;
  /** Makes one connection. Rejects with a `TransportError` whose `code` is the server's, if it gave one. */
  open(request: OpenRequest): Promise<Link>;
}
