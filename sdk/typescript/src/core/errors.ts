/**
 * What can go wrong, as one tree:
 *
 *     MarketDataError           code
 *       InvalidSymbolError      symbol
 *       SubscriptionError       symbol, reason
 *       AuthenticationError
 *       ConnectionFailedError   attempts, cause
 *       RequestError
 *       TransportError          retryAfterMs
 */

/** Anything this package raises by itself. */
export class MarketDataError extends Error {
  override readonly name: string = "MarketDataError";
  /** What it is, for programs: the server's code where there is one. */
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** A symbol that no server takes; raised before anything is sent. */
export class InvalidSymbolError extends MarketDataError {
  override readonly name = "InvalidSymbolError";
  readonly symbol: string;

  constructor(symbol: unknown) {
    const text = typeof symbol === "string" ? symbol.slice(0, 64) : String(symbol);
    super("INVALID_SYMBOL", `${JSON.stringify(text)} is not a symbol: 1 to 32 of A-Z 0-9 . - _ / = ^ : &`);
    this.symbol = text;
  }
}

/** The server does not deliver a symbol or channel; its consumers are dropped. */
export class SubscriptionError extends MarketDataError {
  override readonly name = "SubscriptionError";
  /** The symbol, or the channel. */
  readonly symbol: string;
  /** The server's words, such as `not entitled`. */
  readonly reason: string;

  constructor(symbol: string, reason: string) {
    super("SUBSCRIPTION_REFUSED", `${symbol}: ${reason}`);
    this.symbol = symbol;
    this.reason = reason;
  }
}

/** The token is no good and there is no better one; `code` is `UNAUTHORIZED`, `AUTH_FAILED` or `TOKEN_EXPIRED`. */
export class AuthenticationError extends MarketDataError {
  override readonly name = "AuthenticationError";
}

/** The server could not be reached, or not kept, in all of the attempts. */
export class ConnectionFailedError extends MarketDataError {
  override readonly name = "ConnectionFailedError";
  /** Attempts made after the first failure: a connection that was lost, or a first try. */
  readonly attempts: number;

  constructor(attempts: number, cause: Error) {
    super("CONNECTION_FAILED", `gave up after ${attempts} attempts: ${cause.message}`, { cause });
    this.attempts = attempts;
  }
}

/** A single call was refused, such as the quote of an unknown symbol. */
export class RequestError extends MarketDataError {
  override readonly name = "RequestError";
}

/** Why a connection was not made, or ended; what transports raise. */
export class TransportError extends MarketDataError {
  override readonly name = "TransportError";
  /** Milliseconds that the server wants to be left alone; 0 when it did not say. */
  readonly retryAfterMs: number;

  constructor(code: string, message: string, retryAfterMs = 0) {
    super(code, message);
    this.retryAfterMs = retryAfterMs;
  }
}

/** Whatever was thrown, as an error. */
export function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}
