/** What a client and a server talk about, with the names that the wire has. */

/** How a symbol is delivered: the newest value, or all of them in order. */
export type Mode = "latest" | "every";

/** One side of a best price. */
export interface Side {
  readonly price: number;
  /** Null where the source has none. */
  readonly size: number | null;
  readonly source: string;
}

/** The highest bid and the lowest ask of a symbol over all sources. */
export interface BestPrice {
  readonly symbol: string;
  readonly bestBid: Side | null;
  readonly bestAsk: Side | null;
  /** Null, like `spread` and `spreadBps`, when a side is missing. */
  readonly midPrice: number | null;
  /** Negative in a crossed market. */
  readonly spread: number | null;
  readonly spreadBps: number | null;
  /** Epoch milliseconds of the newest source; never goes back for a symbol. */
  readonly timestamp: number;
}

/** How far a symbol's price can be trusted. */
export interface SymbolStatus {
  readonly symbol: string;
  readonly state: "live" | "stale" | "delayed" | "closed";
  readonly source: string | null;
  /** Epoch milliseconds. */
  readonly since: number;
  /** Why it is stale where that is not the source's silence: `no_feed` or `bus_lost`. */
  readonly reason?: string;
}

/** Values of mode `every` that were lost because this client was too slow. */
export interface Lagged {
  readonly symbol: string;
  readonly missed: number;
}

/** The views of the market that can be listened to. */
export type Channel = "indices" | "sectors" | "sentiment" | "movers";

/** A view of the market that was worked out anew. */
export interface ChannelUpdate {
  readonly channel: Channel;
  readonly data: unknown;
  /** Epoch milliseconds. */
  readonly timestamp: number;
}

/** How soon an event should be looked at, the least first. */
export type Priority = "LOW" | "MEDIUM" | "HIGH" | "CRITICAL";

/** The horizon of an event. */
export type Tier = "daily" | "intraday" | "combo";

/**
 * Which events are wanted; what is left out may be anything.
 *
 * An event without a symbol, tier or confidence never meets a condition on that field.
 */
export interface EventFilter {
  readonly types?: readonly string[];
  readonly names?: readonly string[];
  readonly symbols?: readonly string[];
  readonly tiers?: readonly Tier[];
  /** From 0 to 1. */
  readonly minConfidence?: number;
  readonly minPriority?: Priority;
}

/** Something that happened. */
export interface MarketEvent<T = Record<string, unknown>> {
  readonly id: string;
  readonly type: string;
  readonly name: string;
  readonly symbol?: string;
  readonly tier?: Tier;
  /** From 0 to 1. */
  readonly confidence?: number;
  readonly priority: Priority;
  /** Epoch milliseconds, like `expiresAt`. */
  readonly timestamp: number;
  readonly expiresAt?: number;
  /** The only tenant that hears of it. */
  readonly tenantId?: string;
  readonly data: T;
  /** How its symbol stood when the server took it, where the server adds that. */
  readonly market?: { readonly price: BestPrice | null; readonly state: SymbolStatus["state"] | null };
  /** The names of the subscriptions that it matched; absent when it was sent to everybody. */
  readonly matched?: readonly string[];
}

/** One symbol's quote, as `getQuote` brings it. */
export interface Quote {
  readonly symbol: string;
  readonly price: number | null;
  readonly change: number | null;
  readonly changePercent: number | null;
  readonly volume: number | null;
  readonly bid?: number | null;
  readonly ask?: number | null;
  readonly timestamp: number;
  readonly data_source: string;
  readonly status: "ok" | "partial_data";
  readonly last_updated: string;
  readonly age_seconds: number;
  readonly retry_attempts: number;
  readonly warning?: string;
}

/**
 * Where a client is.
 *
 * - `idle`: nobody has asked for anything yet
 * - `connecting`: the first connection is being made, tries that failed included
 * - `connected`
 * - `reconnecting`: the connection was lost and is being made again
 * - `closed`: by `disconnect()`
 * - `failed`: given up, or refused for good; `connect()` tries again
 */
export type ConnectionState = "idle" | "connecting" | "connected" | "reconnecting" | "closed" | "failed";

/** How one symbol is wanted. */
export interface Want {
  readonly mode: Mode;
  /** Updates a second at most; 0 for no limit. */
  readonly maxRate: number;
}

/** Symbols and how each is wanted, in the order they were asked for. */
export type Wants = ReadonlyMap<string, Want>;
