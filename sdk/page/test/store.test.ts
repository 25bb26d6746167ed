import type { BestPrice } from "@marketstream/client";
import { expect, test } from "vitest";

import { Ticker, Watchlist } from "../src/store.js";

function price(bid: number, ask: number | null, timestamp = 1): BestPrice {
  const side = (value: number) => ({ price: value, size: null, source: "a" });
  const mid = ask === null ? null : (bid + ask) / 2;
  return { symbol: "A", bestBid: side(bid), bestAsk: ask === null ? null : side(ask), midPrice: mid, spread: null, spreadBps: null, timestamp };
}

test("a symbol waits for its price and is live from then on, unless the server says otherwise", () => {
  const ticker = new Ticker("A");
  expect(ticker.trust).toBe("waiting");
  ticker.take(price(1, 2), 0);
  expect(ticker.trust).toBe("live");
  ticker.judge({ symbol: "A", state: "stale", source: null, since: 1 });
  expect(ticker.trust).toBe("stale");
  ticker.judge(undefined);
  expect(ticker.trust).toBe("live");
});

test("decimals are the most that were seen", () => {
  const ticker = new Ticker("A");
  ticker.take(price(1.25, 1.3), 0);
  ticker.take(price(1.2, 1.3), 1);
  expect(ticker.decimals).toBe(2);
});

test("a price without a middle is a gap in the history", () => {
  const ticker = new Ticker("A");
  ticker.take(price(1, 3), 1_000);
  ticker.take(price(1, null), 2_000);
  expect(ticker.history.points(3_000)[1]).toEqual([2, null]);
});

test("what was found is replaced by what is found, and keeps what is known of it", () => {
  const list = new Watchlist();
  list.found(["A", "B"]);
  const known = list.get("B");
  list.found(["B", "C"]);
  expect(list.symbols).toEqual(["B", "C"]);
  expect(list.get("B")).toBe(known);
  expect(list.own).toBe(false);
});

test("a list that the user changed is the user's own", () => {
  for (const change of [(list: Watchlist) => list.add(["C"]), (list: Watchlist) => list.remove("A")]) {
    const list = new Watchlist();
    list.found(["A", "B"]);
    change(list);
    expect(list.own).toBe(true);
    const mine = list.symbols;
    list.found(["X"]);
    expect(list.symbols).toEqual(mine);
  }
});

test("adding says what is new, and removing what is not there changes nothing", () => {
  const list = new Watchlist();
  list.found(["A"]);
  list.remove("Z");
  expect(list.add(["A"])).toEqual([]);
  expect(list.own).toBe(false);
  expect(list.add(["A", "B"])).toEqual(["B"]);
  expect(list.symbols).toEqual(["A", "B"]);
});

test("choosing nothing gives the list back to what is found", () => {
  const list = new Watchlist();
  list.choose(["A"]);
  expect(list.own).toBe(true);
  list.choose([]);
  list.found(["B"]);
  expect([list.own, list.symbols]).toEqual([false, ["B"]]);
});
