/** Updates a second, and how long they took from their source to the screen. */

/** What of a price its way can be told from. */
interface Stamped {
  readonly symbol: string;
  readonly timestamp: number;
}

/** The part of a second's mean that enters the smoothed figure. */
const SHARE = 0.3;

export class Meter {
  readonly #met = new Set<string>();
  #arrived = 0;
  #since: number;
  #lag = 0;
  #painted = 0;
  #smooth: number | undefined;

  /** @param now - milliseconds of a clock that only goes forward */
  constructor(now: number) {
    this.#since = now;
  }

  /** The next price of each symbol is a stored one, whose age says nothing about its way. */
  restart(): void {
    this.#met.clear();
  }

  /** A price has come. */
  arrived(): void {
    this.#arrived += 1;
  }

  /** Prices are on the screen since this moment (epoch milliseconds). */
  painted(prices: Iterable<Stamped>, at: number): void {
    for (const { symbol, timestamp } of prices) {
      if (this.#met.has(symbol)) {
        this.#lag += at - timestamp;
        this.#painted += 1;
      }
      this.#met.add(symbol);
    }
  }

  /** Updates a second since the last reading, and the smoothed latency in milliseconds once there is one. */
  read(now: number): { rate: number; latency: number | undefined } {
    const rate = (this.#arrived * 1000) / Math.max(1, now - this.#since);
    if (this.#painted > 0) {
      const mean = Math.max(0, this.#lag / this.#painted);
      this.#smooth = this.#smooth === undefined ? mean : this.#smooth + SHARE * (mean - this.#smooth);
    }
    this.#since = now;
    this.#arrived = this.#lag = this.#painted = 0;
    return { rate, latency: this.#smooth };
  }
}
