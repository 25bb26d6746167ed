import { asError, AuthenticationError, ConnectionFailedError, MarketDataError, TransportError } from "./errors.js";

/** When connecting is tried again. */
export interface RetryPlan {
  /** Attempts after the first failure; 0 for ever. */
  readonly attempts: number;
  /** Milliseconds before the first attempt; it doubles with each. */
  readonly delayMs: number;
  /** Milliseconds between two attempts at most, jitter aside. */
  readonly maxDelayMs: number;
  /** Part of a delay that is added at random, so that clients do not come back together. */
  readonly jitter: number;
}

/** Two seconds, then 4, 8, 16 and 32, a tenth more at most. */
export const DEFAULT_PLAN: RetryPlan = { attempts: 5, delayMs: 2_000, maxDelayMs: 32_000, jitter: 0.1 };

const REFUSED = new Set(["UNAUTHORIZED", "AUTH_FAILED"]);

/**
 * Milliseconds before an attempt.
 *
 * @param attempt - 1 for the first
 * @param random - from 0 to 1
 */
export function retryDelay(plan: RetryPlan, attempt: number, random: number): number {
  return Math.min(plan.delayMs * 2 ** (attempt - 1), plan.maxDelayMs) * (1 + plan.jitter * random);
}

/** Decides what follows the end of a connection or of an attempt. It keeps count and does nothing else. */
export class Retry {
  readonly #plan: RetryPlan | undefined;
  readonly #renewable: boolean;
  readonly #random: () => number;
  #failures = 0;
  #refused = false;
  #expired = false;

  /**
   * @param plan - undefined: the first failure is the last
   * @param renewable - whether there is a function that gives another token
   * @param random - gives numbers from 0 to 1
   */
  constructor(plan: RetryPlan | undefined, renewable: boolean, random: () => number) {
    this.#plan = plan;
    this.#renewable = renewable;
    this.#random = random;
  }

  /** The server let the client in: its token is good. */
  admitted(): void {
    this.#refused = false;
  }

  /** The connection does what it is for: failures are counted anew. */
  healthy(): void {
    this.#failures = 0;
    this.#expired = false;
  }

  /** Milliseconds until the next attempt, or the error with which it is over. */
  next(thrown: unknown): number | MarketDataError {
    const cause = asError(thrown);
    const code = cause instanceof MarketDataError ? cause.code : "";
    if (REFUSED.has(code)) {
      if (!this.#renewable || this.#refused) return new AuthenticationError(code, cause.message, { cause });
      this.#refused = true;
      return 0;
    }
    if (code === "TOKEN_EXPIRED") {
      if (!this.#renewable) return new AuthenticationError(code, cause.message, { cause });
      if (!this.#expired) {
        this.#expired = true;
        return 0;
      }
    }
    if (code === "DISCONNECTED") return new MarketDataError(code, cause.message, { cause });
    return this.#failed(cause);
  }

  #failed(cause: Error): number | MarketDataError {
    this.#refused = false;
    const made = this.#failures;
    if (!this.#plan || (this.#plan.attempts > 0 && made >= this.#plan.attempts)) {
      return new ConnectionFailedError(made, cause);
    }
    this.#failures += 1;
    const delay = retryDelay(this.#plan, this.#failures, this.#random());
    return Math.max(delay, cause instanceof TransportError ? cause.retryAfterMs : 0);
  }
}
