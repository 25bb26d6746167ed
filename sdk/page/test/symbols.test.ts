import { expect, test } from "vitest";

import { byName, parseSymbols, readAddress, writeAddress } from "../src/symbols.js";

test("a text names symbols in any case, each once, apart by blanks or commas", () => {
  expect(parseSymbols(" eur/usd, AAPL  aapl\n^gspc,")).toEqual({ symbols: ["EUR/USD", "AAPL", "^GSPC"], wrong: undefined });
});

test("the first word that is no symbol is told, and the others count", () => {
  expect(parseSymbols("a b$c d€ e")).toEqual({ symbols: ["A", "E"], wrong: "b$c" });
  expect(parseSymbols("x".repeat(33)).wrong).toBe("x".repeat(33));
});

test("a letter that only becomes ASCII in upper case is none", () => {
  expect(parseSymbols("straße ıx").symbols).toEqual([]);
});

test("an address names symbols behind its hash, or else in its query", () => {
  expect(readAddress({ hash: "#ES=F,eur/usd", search: "?symbols=aapl" })).toEqual(["ES=F", "EUR/USD"]);
  expect(readAddress({ hash: "#m%26m.ns,AAPL", search: "" })).toEqual(["M&M.NS", "AAPL"]);
  expect(readAddress({ hash: "", search: "?symbols=aapl,EUR%2FUSD&x=1" })).toEqual(["AAPL", "EUR/USD"]);
  expect(readAddress({ hash: "#%zz", search: "" })).toEqual([]);
});

test("an address that was written is read as the same list", () => {
  for (const symbols of [[], ["EUR/USD"], ["ES=F", "^GSPC", "A:B", "BRK-B", "VOD.L", "A_B"]]) {
    const { hash, search } = new URL(writeAddress("/", symbols), "http://server");
    expect(readAddress({ hash, search })).toEqual(symbols);
  }
});

test("names are ordered as people count", () => {
  expect(["SYM10", "SYM2", "SYM1"].sort(byName)).toEqual(["SYM1", "SYM2", "SYM10"]);
});
