import { describe, expect, test, vi } from "vitest";

import { InvalidSymbolError, RequestError, SubscriptionError } from "../src/core/errors.js";
import { settle } from "./support/clock.js";
import { clock, ignore, makeClient, market, sink, subscribed, watched } from "./support/client.js";
import { price } from "./support/market.js";

describe("subscribing", () => {
  test("the first subscription connects, and prices reach the callback", async () => {
    const { client, states } = watched();
    const { got, callback } = sink();
    client.subscribe(["A", "B"], callback);
    await settle();
    market.latest.snapshot(price("A", 1), price("B", 2));
    market.latest.send(price("A", 3), price("C", 9));
    expect(states).toEqual(["idle", "connecting", "connected"]);
    expect(client.isConnected()).toBe(true);
    expect(market.latest.calls).toEqual([subscribed(["A", "B"])]);
    expect(got).toEqual([1, 2, 3]);
    expect(market.tries[0]).toMatchObject({ url: "http://x", token: "t" });
  });

  test("symbols are trimmed, upper-cased, and asked for once", async () => {
    const client = makeClient();
    client.subscribe([" eur/usd ", "EUR/USD"], ignore);
    client.subscribe("aapl", ignore);
    await settle();
    expect(market.latest.calls).toEqual([subscribed(["EUR/USD", "AAPL"])]);
  });

  test.each([[[]], [""], [["A", "no such"]], [["ß"]], [["A".repeat(33)]], [[7 as unknown as string]]])("%j is refused on the spot", (symbols) => {
    const client = makeClient();
    expect(() => client.subscribe(symbols, ignore)).toThrow();
    expect(client.state).toBe("idle");
  });

  test("a symbol that is none is named", () => {
    expect(() => makeClient().subscribe(["no such"], ignore)).toThrow(InvalidSymbolError);
    expect(() => makeClient().subscribe(["no such"], ignore)).toThrow('"no such"');
  });

  test.each([-1, 0.001, Number.NaN, Number.POSITIVE_INFINITY])("%d is no rate", (maxRate) => {
    expect(() => makeClient().subscribe("A", ignore, { maxRate })).toThrow(RangeError);
  });

  test("changes of one turn are one call, and what was undone in it is none", async () => {
    const client = makeClient();
    const leave = client.subscribe("A", ignore);
    await settle();
    leave();
    client.subscribe("A", ignore);
    client.subscribe("B", ignore)();
    client.subscribe("C", ignore);
    client.subscribe("D", ignore);
    await settle();
    expect(market.latest.calls).toEqual([subscribed(["A"]), subscribed(["C", "D"])]);
  });

  test("what changes while an answer is awaited is said afterwards", async () => {
    const client = makeClient();
    await client.connect();
    market.latest.mute = true;
    const leave = client.subscribe("A", ignore);
    await settle();
    leave();
    client.subscribe("B", ignore);
    await settle();
    expect(market.latest.calls).toHaveLength(1);
    market.latest.speak();
    await settle();
    expect(market.latest.calls).toEqual([subscribed(["A"]), ["unsubscribe", { symbols: ["A"] }], subscribed(["B"])]);
  });

  test("a callback that throws is logged and harms no other", async () => {
    const log = vi.spyOn(console, "error").mockImplementation(ignore);
    const client = makeClient();
    const { got, callback } = sink();
    client.subscribe("A", () => {
      throw new Error("mine");
    });
    client.subscribe("A", async () => Promise.reject(new Error("mine too")));
    client.subscribe("A", callback);
    await settle();
    market.latest.send(price("A", 1), price("A", 2));
    await settle();
    expect(got).toEqual([1, 2]);
    expect(log).toHaveBeenCalledTimes(4);
  });

  test("a transport that made no connection is told to let go of what it began", async () => {
    market.refusals = ["UNREACHABLE"];
    const client = makeClient();
    void client.connect();
    await settle();
    expect(market.tries.map(({ signal }) => signal.aborted)).toEqual([true]);
    await clock.advance(2_000);
    await settle();
    expect(market.tries.map(({ signal }) => signal.aborted)).toEqual([true, false]);
  });
});

describe("consumers", () => {
  test("a second one of a symbol sends nothing and gets the last price at once", async () => {
    const client = makeClient();
    const [first, second] = [sink(), sink()];
    client.subscribe("A", first.callback);
    await settle();
    market.latest.send(price("A", 1));
    client.subscribe("A", second.callback);
    await Promise.resolve();
    expect(second.got).toEqual([1]);
    market.latest.send(price("A", 2));
    await settle();
    expect([first.got, second.got]).toEqual([[1, 2], [1, 2]]);
    expect(market.latest.calls).toHaveLength(1);
  });

  test("one that comes while prices are given out gets each once", async () => {
    const client = makeClient();
    const late = sink();
    let joined = false;
    client.subscribe(["A", "B"], () => {
      if (!joined) client.subscribe(["A", "B"], late.callback);
      joined = true;
    });
    await settle();
    market.latest.snapshot(price("A", 1), price("B", 2));
    await settle();
    expect(late.got.sort()).toEqual([1, 2]);
  });

  test("one that leaves silences no other, and the last one tells the server", async () => {
    const client = makeClient();
    const [first, second] = [sink(), sink()];
    const leave = client.subscribe("A", first.callback);
    client.subscribe("A", second.callback);
    await settle();
    leave();
    leave();
    market.latest.send(price("A", 1));
    client.removeCallback("a", ignore);
    await settle();
    expect([first.got, second.got]).toEqual([[], [1]]);
    client.removeCallback("a", second.callback);
    market.latest.send(price("A", 2));
    await settle();
    expect(second.got).toEqual([1]);
    expect(market.latest.calls.at(-1)).toEqual(["unsubscribe", { symbols: ["A"] }]);
  });

  test("unsubscribing takes back one subscription, whoever made it", async () => {
    const client = makeClient();
    const [first, second] = [sink(), sink()];
    client.subscribe(["A", "B"], first.callback);
    const leave = client.subscribe("A", second.callback);
    await settle();
    client.unsubscribe(["A", "B"]);
    market.latest.send(price("A", 1), price("B", 2));
    await settle();
    expect([first.got, second.got]).toEqual([[1], [1]]);
    expect(market.latest.calls.at(-1)).toEqual(["unsubscribe", { symbols: ["B"] }]);
    leave();
    await settle();
    expect(market.latest.calls.at(-1)).toEqual(["unsubscribe", { symbols: ["A"] }]);
  });

  test("the strongest wish counts, and it weakens when its owner leaves", async () => {
    const client = makeClient();
    client.subscribe("A", ignore, { maxRate: 2 });
    await settle();
    const leave = client.subscribe("A", ignore, { mode: "every", maxRate: 5 });
    await settle();
    const leaveToo = client.subscribe("A", ignore);
    await settle();
    leave();
    leaveToo();
    await settle();
    expect(market.latest.calls).toEqual([
      subscribed(["A"], "latest", 2),
      subscribed(["A"], "every", 5),
      subscribed(["A"], "every", 0),
      subscribed(["A"], "latest", 2),
    ]);
  });

  test("who leaves and comes back within a turn still has the last price", async () => {
    const client = makeClient();
    const again = sink();
    const leave = client.subscribe("A", ignore);
    await settle();
    market.latest.send(price("A", 1));
    leave();
    client.subscribe("A", again.callback);
    await settle();
    expect(again.got).toEqual([1]);
    expect(client.lastPrice("a")?.midPrice).toBe(1);
  });

  test("a price that the server no longer keeps up to date is forgotten", async () => {
    const client = makeClient();
    const leave = client.subscribe("A", ignore);
    await settle();
    market.latest.send(price("A", 1));
    leave();
    await settle();
    expect(client.lastPrice("A")).toBeUndefined();
    const again = sink();
    client.subscribe("A", again.callback);
    await settle();
    expect(again.got).toEqual([]);
    market.latest.snapshot(price("A", 1));
    expect(again.got).toEqual([1]);
  });
});

describe("what the server refuses", () => {
  test("a refused symbol is told to its consumers and asked for no more", async () => {
    market.answer = (event) => (event === "subscribe" ? { subscribed: ["A"], errors: ["B: max subscriptions reached"] } : undefined);
    const { client, errors } = watched();
    const told: Error[] = [];
    client.subscribe(["A", "B"], ignore, { onError: (error) => told.push(error) });
    client.subscribe(["A"], ignore, { onError: (error) => told.push(error) });
    await settle();
    expect(told).toEqual(errors);
    expect(errors).toMatchObject([{ name: "SubscriptionError", symbol: "B", reason: "max subscriptions reached" }]);
    expect(errors[0]).toBeInstanceOf(SubscriptionError);
    market.latest.end();
    await clock.advance(2_000);
    expect(market.latest.calls).toEqual([subscribed(["A"])]);
  });

  test("a call too many waits as long as the server says", async () => {
    let refusals = 2;
    market.answer = () => (refusals-- > 0 ? { error: "Rate limit exceeded", code: "RATE_LIMITED", retryAfterMs: 700 } : undefined);
    const { client, errors } = watched();
    client.subscribe("A", ignore);
    await settle();
    await clock.advance(699);
    expect(market.latest.calls).toHaveLength(1);
    await clock.advance(1);
    expect(market.latest.calls).toHaveLength(2);
    await clock.advance(700);
    expect(market.latest.calls).toHaveLength(3);
    expect(errors).toEqual([]);
    client.subscribe("B", ignore);
    await settle();
    expect(market.latest.calls.at(-1)).toEqual(subscribed(["B"]));
  });

  test.each(["INVALID_MESSAGE", "NOT_ENTITLED", "INTERNAL"])("a call that fails with %s refuses its symbols", async (code) => {
    market.answer = (_, { mode }) => (mode === "every" ? { error: "not in your plan", code } : undefined);
    const { client, errors } = watched();
    client.subscribe("A", ignore, { mode: "every" });
    client.subscribe("B", ignore);
    await settle();
    expect(errors).toMatchObject([{ symbol: "A", reason: "not in your plan" }]);
    client.unsubscribe("B");
    await settle();
    expect(market.latest.calls.at(-1)).toEqual(["unsubscribe", { symbols: ["B"] }]);
  });

  test("a symbol that an answer leaves out is refused, not asked for for ever", async () => {
    market.answer = () => ({ subscribed: [] });
    const { client, errors } = watched();
    client.subscribe("A", ignore);
    await settle();
    expect(errors).toMatchObject([{ symbol: "A", reason: "not acknowledged" }]);
    expect(market.latest.calls).toHaveLength(1);
  });

  test("an error of the server is an event", async () => {
    const { client, errors } = watched();
    await client.connect();
    market.latest.event("error", { code: "INTERNAL", message: "it failed" });
    expect(errors).toMatchObject([{ code: "INTERNAL", message: "it failed" }]);
    expect(errors[0]).toBeInstanceOf(RequestError);
  });
});

describe("the rest", () => {
  test("statuses and losses are events", async () => {
    const client = makeClient();
    const got: unknown[] = [];
    client.onStatus((status) => got.push(status));
    const end = client.onLagged((lagged) => got.push(lagged));
    await client.connect();
    const status = { symbol: "A", state: "stale", source: "x", since: 1 };
    market.latest.event("status", status);
    market.latest.event("lagged", { symbol: "A", missed: 3 });
    end();
    market.latest.event("lagged", { symbol: "A", missed: 4 });
    market.latest.event("something new", { x: 1 });
    expect(got).toEqual([status, { symbol: "A", missed: 3 }]);
  });

  test("channels are counted, repeated after reconnecting, and deliver nothing twice", async () => {
    const client = makeClient();
    const got: unknown[] = [];
    const leave = client.subscribeChannels(["indices", "sectors"], (update) => got.push(update.timestamp));
    const leaveToo = client.subscribeChannels(["indices"], ignore);
    await settle();
    const update = (timestamp: number): unknown => ({ channel: "indices", data: {}, timestamp });
    market.latest.event("market_update", update(1));
    market.latest.end();
    await clock.advance(2_000);
    market.latest.event("market_update", update(1));
    market.latest.event("market_update", update(2));
    leave();
    await settle();
    leaveToo();
    await settle();
    expect(got).toEqual([1, 2]);
    expect(market.latest.calls).toEqual([
      ["subscribe", { symbols: [], channels: ["indices", "sectors"] }],
      ["unsubscribe", { symbols: [], channels: ["sectors"] }],
      ["unsubscribe", { symbols: [], channels: ["indices"] }],
    ]);
  });

  test("a channel that there is not is refused on the spot", () => {
    expect(() => makeClient().subscribeChannels(["weather" as "indices"], ignore)).toThrow("weather");
  });

  test("a transport that lacks something says so", () => {
    Object.assign(market, { every: false, channels: false });
    expect(() => makeClient().subscribe("A", ignore, { mode: "every" })).toThrow("no mode every");
    expect(() => makeClient().subscribeChannels(["indices"], ignore)).toThrow("no channels");
  });

  test("asking for a quote connects first", async () => {
    await expect(makeClient().getQuote("aapl")).resolves.toEqual({ symbol: "AAPL" });
  });
});
