/** Reads what a server says. What makes no sense is left out: a client outlives a newer server. */

import type { BestPrice, Channel, ChannelUpdate, Lagged, SymbolStatus } from "./model.js";

/** Any object of the wire. */
export type Fields = Readonly<Record<string, unknown>>;

/** What is listened to by name. */
export const CHANNELS: readonly Channel[] = ["indices", "sectors", "sentiment", "movers"];

/** The answer to a call that changes subscriptions. */
export interface Ack {
  /** Symbols and channels that are watched now. */
  readonly taken: ReadonlySet<string>;
  /** Why others are not. */
  readonly refused: ReadonlyMap<string, string>;
  /** Set when the call failed as a whole. */
  readonly failure: Failure | undefined;
}

/** A call that failed as a whole. */
export interface Failure {
  readonly code: string;
  readonly message: string;
  readonly retryAfterMs: number;
}

/** An object, empty when it is anything else. */
export function fields(value: unknown): Fields {
  return typeof value === "object" && value !== null ? (value as Fields) : {};
}

/** The prices in the payload of `price` or `snapshot`. */
export function parsePrices(payload: unknown): BestPrice[] {
  const { prices } = fields(payload);
  return (Array.isArray(prices) ? prices : [payload]).filter(isBestPrice);
}

/** The payload of `status`. */
export function parseStatus(payload: unknown): SymbolStatus | undefined {
  const { symbol, state } = fields(payload);
  return typeof symbol === "string" && typeof state === "string" ? (payload as SymbolStatus) : undefined;
}

/** The payload of `lagged`. */
export function parseLagged(payload: unknown): Lagged | undefined {
  const { symbol, missed } = fields(payload);
  return typeof symbol === "string" && typeof missed === "number" ? (payload as Lagged) : undefined;
}

/** The payload of `market_update`, `sector_update` or `sentiment_update`. */
export function parseUpdate(payload: unknown): ChannelUpdate | undefined {
  const { channel, timestamp } = fields(payload);
  const known = CHANNELS.some((name) => name === channel) && typeof timestamp === "number";
  return known ? (payload as ChannelUpdate) : undefined;
}

/** The answer to `subscribe`, or the payload of `subscribed`. */
export function parseAck(payload: unknown): Ack {
  const { subscribed, channels, errors } = fields(payload);
  return {
    taken: new Set([...texts(subscribed), ...texts(channels)]),
    refused: new Map(texts(errors).map(splitReason)),
    failure: parseFailure(payload),
  };
}

/** What an answer says that carries out nothing; undefined for any other. */
export function parseFailure(payload: unknown): Failure | undefined {
  const { error, code, retryAfterMs } = fields(payload);
  if (typeof error !== "string") return undefined;
  return {
    code: typeof code === "string" ? code : "INTERNAL",
    message: error,
    retryAfterMs: typeof retryAfterMs === "number" ? retryAfterMs : 0,
  };
}

/** Milliseconds to wait before a call is made again: a second where the server does not say, a minute at most. */
export const patienceMs = (asked: number): number => (asked > 0 ? Math.min(asked, 60_000) : 1_000);

/** The code and text of an `error` event, of a refused handshake, or of an HTTP error. */
export function parseError(payload: unknown, otherwise: string): { code: string; message: string } {
  const { code, message } = fields(payload);
  return {
    code: typeof code === "string" ? code : otherwise,
    message: typeof message === "string" ? message : otherwise,
  };
}

/** A symbol and the reason in `SYMBOL: reason`; symbols may hold colons themselves. */
export function splitReason(text: string): [symbol: string, reason: string] {
  const at = text.lastIndexOf(": ");
  return at < 0 ? [text, text] : [text.slice(0, at), text.slice(at + 2)];
}

function isBestPrice(value: unknown): value is BestPrice {
  const { symbol, timestamp } = fields(value);
  return typeof symbol === "string" && typeof timestamp === "number";
}

function texts(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === "string") : [];
}
