import { InvalidSymbolError, MarketDataError } from "./errors.js";

const SYMBOL = /^[A-Za-z0-9.\-_/=^:&]{1,32}$/;

/**
 * A symbol as the server writes it: trimmed, upper-case.
 *
 * @throws InvalidSymbolError It is none. Other letters than ASCII are not upper-cased into one.
 */
export function normalizeSymbol(symbol: unknown): string {
  const trimmed = typeof symbol === "string" ? symbol.trim() : "";
  if (!SYMBOL.test(trimmed)) throw new InvalidSymbolError(symbol);
  return trimmed.toUpperCase();
}

/**
 * Symbols as the server writes them, each once, in order.
 *
 * @throws InvalidSymbolError One of them is none.
 * @throws MarketDataError There are none; `code` is `INVALID_MESSAGE`.
 */
export function normalizeSymbols(symbols: string | readonly string[]): string[] {
  const all = [...new Set((typeof symbols === "string" ? [symbols] : symbols).map(normalizeSymbol))];
  if (all.length === 0) throw new MarketDataError("INVALID_MESSAGE", "no symbol was named");
  return all;
}
