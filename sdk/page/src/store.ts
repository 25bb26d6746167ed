/** What is watched, and what is known of it. No document, no clock, no connection. */

import type { BestPrice, SymbolStatus } from "@marketstream/client";

import { decimalsOf } from "./format.js";
import { History } from "./history.js";

/** How far a symbol's price can be trusted; `waiting` until there is one. */
export type Trust = "waiting" | SymbolStatus["state"];

/** One symbol: its newest price and what qualifies it. */
export class Ticker {
  readonly symbol: string;
  readonly history = new History();
  #price: BestPrice | undefined;
  #status: SymbolStatus | undefined;
  #decimals = 0;

  constructor(symbol: string) {
    this.symbol = symbol;
  }

  /** The newest price, if one has come. */
  get price(): BestPrice | undefined {
    return this.#price;
  }

  /** Decimals of its prices: the most that were seen, since numbers lose their trailing zeros on the way. */
  get decimals(): number {
    return this.#decimals;
  }

  get trust(): Trust {
    return this.#status?.state ?? (this.#price ? "live" : "waiting");
  }

  take(price: BestPrice, now: number): void {
    this.#price = price;
    this.#decimals = Math.max(this.#decimals, decimalsOf(price.bestBid?.price), decimalsOf(price.bestAsk?.price));
    if (price.midPrice !== null) this.history.take(now, price.midPrice);
    else this.history.cut(now);
  }

  /** What the server says of it; undefined: nothing, which is what a new connection begins with. */
  judge(status: SymbolStatus | undefined): void {
    this.#status = status;
  }
}

/**
 * The symbols that are shown, in their order.
 *
 * The list is found (whatever the feeds produce) until the user changes it; from then on it is the user's own.
 */
export class Watchlist {
  readonly #tickers = new Map<string, Ticker>();
  #own = false;

  /** Whether the user has made it. */
  get own(): boolean {
    return this.#own;
  }

  get symbols(): string[] {
    return [...this.#tickers.keys()];
  }

  get tickers(): Iterable<Ticker> {
    return this.#tickers.values();
  }

  get(symbol: string): Ticker | undefined {
    return this.#tickers.get(symbol);
  }

  /** Takes what was found in place of what was found before. An own list stays as it is. */
  found(symbols: readonly string[]): void {
    if (!this.#own) this.#replace(symbols);
  }

  /** Makes these the user's own list; without any it is a found one again, and empty. */
  choose(symbols: readonly string[]): void {
    this.#own = symbols.length > 0;
    this.#replace(symbols);
  }

  /** Adds symbols at the end; returns those that were not there. */
  add(symbols: readonly string[]): string[] {
    const fresh = symbols.filter((symbol) => !this.#tickers.has(symbol));
    for (const symbol of fresh) this.#tickers.set(symbol, new Ticker(symbol));
    this.#own ||= fresh.length > 0;
    return fresh;
  }

  remove(symbol: string): void {
    if (this.#tickers.delete(symbol)) this.#own = true;
  }

  #replace(symbols: readonly string[]): void {
    const before = new Map(this.#tickers);
    this.#tickers.clear();
    for (const symbol of symbols) this.#tickers.set(symbol, before.get(symbol) ?? new Ticker(symbol));
  }
}
