"use client";

/**
 * Hooks for React 18 and later.
 *
 * @packageDocumentation
 */

import { useCallback, useMemo, useSyncExternalStore } from "react";

import type { SubscribeOptions } from "./client.js";
import type { BestPrice, ConnectionState } from "./core/model.js";
import { normalizeSymbol } from "./core/symbol.js";
import { PriceStore } from "./pricestore.js";

/** What the hooks need of a client. */
export interface PriceSource {
  readonly state: ConnectionState;
  subscribe(symbols: readonly string[], callback: (price: BestPrice) => void, options?: SubscribeOptions): () => void;
  lastPrice(symbol: string): BestPrice | undefined;
  onState(listener: (state: ConnectionState) => void): () => void;
}

/** How a hook subscribes. */
export type HookOptions = Pick<SubscribeOptions, "mode" | "maxRate">;

const NO_PRICES: Map<string, BestPrice> = new Map();

/**
 * The newest prices of the symbols, in their order; one that has no price yet is missing.
 *
 * The component renders once a frame at most, however fast the market is. The list may be a new array
 * in each render: only other symbols subscribe anew.
 *
 * @throws InvalidSymbolError One of them is none.
 */
export function useMarketData(
  client: PriceSource,
  symbols: readonly string[],
  { mode, maxRate }: HookOptions = {},
): Map<string, BestPrice> {
  const key = symbols.map(normalizeSymbol).join(",");
  const store = useMemo(() => {
    const names = key === "" ? [] : [...new Set(key.split(","))];
    return new PriceStore(client, names, { ...(mode && { mode }), ...(maxRate !== undefined && { maxRate }) });
  }, [client, key, mode, maxRate]);
  return useSyncExternalStore(store.subscribe, store.current, noPrices);
}

/**
 * The newest price of one symbol; undefined while there is none.
 *
 * @throws InvalidSymbolError It is none.
 */
export function usePrice(client: PriceSource, symbol: string, options?: HookOptions): BestPrice | undefined {
  return useMarketData(client, [symbol], options).get(normalizeSymbol(symbol));
}

/** Where the client is, such as `connected`. */
export function useConnectionState(client: PriceSource): ConnectionState {
  const subscribe = useCallback((changed: () => void) => client.onState(changed), [client]);
  const current = (): ConnectionState => client.state;
  return useSyncExternalStore(subscribe, current, current);
}

function noPrices(): Map<string, BestPrice> {
  return NO_PRICES;
}
