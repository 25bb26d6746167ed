import type { EventFilter } from "./model.js";

/** Filters by the name of their subscription. */
export type EventFilters = ReadonlyMap<string, EventFilter>;

/** One call to the server. */
export type EventCall =
  | readonly ["unsubscribe_events", { readonly name: string }]
  | readonly ["subscribe_events", { readonly name: string; readonly filter: EventFilter }];

/**
 * What must be said so that the server has what is wanted, in the order it was wanted.
 *
 * Leaving comes before joining, so that the limit has room. What is held beyond that stays: subscriptions are
 * the user's, and another program may have made it.
 *
 * @param wanted - what there should be
 * @param held - what the server has
 * @param left - what was given up here
 */
export function reconcileEvents(wanted: EventFilters, held: EventFilters, left: Iterable<string> = []): EventCall[] {
  const gone = [...left].filter((name) => !wanted.has(name));
  const missing = [...wanted].filter(([name, filter]) => !sameFilter(filter, held.get(name)));
  return [
    ...gone.map((name): EventCall => ["unsubscribe_events", { name }]),
    ...missing.map(([name, filter]): EventCall => ["subscribe_events", { name, filter: normalizeFilter(filter) }]),
  ];
}

/** Whether two filters let the same through, in whatever order and case their values stand. */
export function sameFilter(one: EventFilter, other: EventFilter | undefined): boolean {
  return other !== undefined && JSON.stringify(normalizeFilter(one)) === JSON.stringify(normalizeFilter(other));
}

/** A copy in which each value stands once, in order, symbols in upper case, and absent fields not at all. */
export function normalizeFilter(filter: EventFilter | null | undefined): EventFilter {
  const given = Object.entries(filter ?? {}).filter(([, value]) => value !== undefined && value !== null);
  return Object.fromEntries(given.map(([field, value]) => [field, inOrder(field, value)]).sort());
}

function inOrder(field: string, value: unknown): unknown {
  if (!Array.isArray(value)) return value;
  const values: unknown[] = field === "symbols" ? value.map((symbol) => String(symbol).toUpperCase()) : value;
  return [...new Set(values)].sort();
}
