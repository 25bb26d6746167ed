import type { Mode, Want, Wants } from "./model.js";

/** One call to the server. */
export type Call =
  | readonly ["unsubscribe", { readonly symbols: readonly string[] }]
  | readonly ["subscribe", { readonly symbols: readonly string[]; readonly mode: Mode; readonly maxRate: number }];

/**
 * What must be said so that the server has what is wanted.
 *
 * Leaving comes before joining, so that a plan's limit has room. Symbols of one mode and rate share a
 * call, in the order they were wanted.
 *
 * @param wanted - what there should be
 * @param confirmed - what the server has acknowledged on this connection
 * @param part - symbols of one call at most
 */
export function reconcile(wanted: Wants, confirmed: Wants, part = 500): Call[] {
  const gone = [...confirmed.keys()].filter((symbol) => !wanted.has(symbol));
  const groups = new Map<string, { want: Want; symbols: string[] }>();
  for (const [symbol, want] of wanted) {
    if (sameWant(want, confirmed.get(symbol))) continue;
    const key = `${want.mode} ${want.maxRate}`;
    const group = groups.get(key) ?? { want, symbols: [] };
    group.symbols.push(symbol);
    groups.set(key, group);
  }
  return [
    ...parts(gone, part).map((symbols): Call => ["unsubscribe", { symbols }]),
    ...[...groups.values()].flatMap(({ want: { mode, maxRate }, symbols }) =>
      parts(symbols, part).map((some): Call => ["subscribe", { symbols: some, mode, maxRate }]),
    ),
  ];
}

/** The one of two wants that serves both: `every` before `latest`, the higher rate, 0 being the highest. */
export function stronger(one: Want, other: Want): Want {
  return {
    mode: one.mode === "every" ? "every" : other.mode,
    maxRate: one.maxRate === 0 || other.maxRate === 0 ? 0 : Math.max(one.maxRate, other.maxRate),
  };
}

function sameWant(one: Want, other: Want | undefined): boolean {
  return one.mode === other?.mode && one.maxRate === other.maxRate;
}

function parts(symbols: readonly string[], size: number): string[][] {
  const count = Math.ceil(symbols.length / size);
  return Array.from({ length: count }, (_, index) => symbols.slice(index * size, (index + 1) * size));
}
