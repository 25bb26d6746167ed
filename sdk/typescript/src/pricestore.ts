import type { SubscribeOptions } from "./client.js";
import type { BestPrice } from "./core/model.js";
import { offFrame, onFrame } from "./frame.js";

/** What a store needs of a client. */
interface Source {
  subscribe(symbols: readonly string[], callback: (price: BestPrice) => void, options?: SubscribeOptions): () => void;
  lastPrice(symbol: string): BestPrice | undefined;
}

type Prices = Map<string, BestPrice>;

/**
 * The prices of some symbols as something to look at: a map that is replaced, never changed, and that
 * only between two frames. It subscribes while somebody looks.
 */
export class PriceStore {
  readonly #source: Source;
  readonly #symbols: readonly string[];
  readonly #options: SubscribeOptions;
  readonly #viewers = new Set<() => void>();
  #prices: Prices;
  #leave: (() => void) | undefined;

  constructor(source: Source, symbols: readonly string[], options: SubscribeOptions) {
    this.#source = source;
    this.#symbols = symbols;
    this.#options = options;
    this.#prices = this.#newest();
  }

  /** The map that stands now. */
  readonly current = (): Prices => this.#prices;

  /** Adds somebody to tell when there is another map; returns what ends it. */
  readonly subscribe = (changed: () => void): (() => void) => {
    const viewer = (): void => changed();
    this.#viewers.add(viewer);
    if (this.#viewers.size === 1) this.#begin();
    return () => {
      this.#viewers.delete(viewer);
      if (this.#viewers.size === 0) this.#end();
    };
  };

  #begin(): void {
    if (this.#symbols.length === 0) return;
    this.#leave = this.#source.subscribe(this.#symbols, () => onFrame(this.#refresh), this.#options);
  }

  #end(): void {
    offFrame(this.#refresh);
    this.#leave?.();
    this.#leave = undefined;
  }

  readonly #refresh = (): void => {
    this.#prices = this.#newest();
    for (const viewer of [...this.#viewers]) viewer();
  };

  #newest(): Prices {
    const found = new Map<string, BestPrice>();
    for (const symbol of this.#symbols) {
      const price = this.#source.lastPrice(symbol);
      if (price) found.set(symbol, price);
    }
    return found;
  }
}
