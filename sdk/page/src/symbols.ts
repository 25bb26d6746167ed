/** Lists of symbols as people write them: in the form, and in the address. */

// Some letters beyond ASCII become ASCII when upper-cased, so this is asked before.
const SYMBOL = /^[A-Za-z0-9.\-_/=^:&]{1,32}$/;

/** The order of names for people: SYM2 comes before SYM10. */
export const byName = new Intl.Collator("en", { numeric: true }).compare;

/** What a text names: symbols in upper case, each once, and the first word that is none. */
export function parseSymbols(text: string): { symbols: string[]; wrong: string | undefined } {
  const words = text.split(/[\s,]+/).filter(Boolean);
  const symbols = new Set<string>();
  let wrong: string | undefined;
  for (const word of words) {
    if (SYMBOL.test(word)) symbols.add(word.toUpperCase());
    else wrong ??= word;
  }
  return { symbols: [...symbols], wrong };
}

/** The symbols that an address names: behind `#`, or else in `?symbols=`. What is no symbol is left out. */
export function readAddress({ hash, search }: { hash: string; search: string }): string[] {
  // Unlike decodeURIComponent this takes any text: an address may be typed by hand.
  const query = hash.length > 1 ? `symbols=${hash.slice(1)}` : search;
  return parseSymbols(new URLSearchParams(query).get("symbols") ?? "").symbols;
}

/** The address of a page that shows these symbols, or of one that shows whatever there is. */
export function writeAddress(path: string, symbols: readonly string[]): string {
  // Of a symbol's characters only this one ends a value of a query.
  return symbols.length > 0 ? `${path}#${symbols.join(",").replaceAll("&", "%26")}` : path;
}
