import type { BestPrice } from "./model.js";

/**
 * Whether a price that arrives may go to callbacks: never one that is older than the last that did, and
 * never the same value again, whatever server or event it comes from.
 */
export function isNews(price: BestPrice, last: BestPrice | undefined): boolean {
  if (!last || price.timestamp > last.timestamp) return true;
  return price.timestamp === last.timestamp && !isEqual(price, last);
}

function isEqual(one: unknown, other: unknown): boolean {
  if (!isRecord(one) || !isRecord(other)) return one === other;
  const names = Object.keys(one);
  return names.length === Object.keys(other).length && names.every((name) => isEqual(one[name], other[name]));
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}
