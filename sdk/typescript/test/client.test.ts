import { beforeEach, describe, expect, test, vi } from "vitest";

import { type ClientOptions, CoreClient } from "../src/client.js";
import { AuthenticationError, ConnectionFailedError, InvalidSymbolError, RequestError, SubscriptionError } from "../src/core/errors.js";
import type { BestPrice } from "../src/core/model.js";
import { FakeClock, settle } from "./support/clock.js";
import { Market, price } from "./support/market.js";

let clock: FakeClock;
let market: Market;

beforeEach(() => {
  clock = new FakeClock();
  market = new Market();
});

function makeClient(options: Partial<ClientOptions> = {}): CoreClient {
  return new CoreClient({ url: "http://x/", token: "t", timer: clock.timer, random: () => 0, transport: market, ...options });
}

/** A client, and all the states it went through with their reasons. */
function watched(options: Partial<ClientOptions> = {}): { client: CoreClient; states: string[]; errors: Error[] } {
  const client = makeClient(options);
  const states: string[] = [client.state];
  const errors: Error[] = [];
  client.onState((state) => states.push(state));
  client.onError((error) => errors.push(error));
  return { client, states, errors };
}

/** A callback that notes the middles it got. */
function sink(): { got: (number | null)[]; callback: (price: BestPrice) => void } {
  const got: (number | null)[] = [];
  return { got, callback: ({ midPrice }) => got.push(midPrice) };
}

const subscribed = (symbols: string[], mode = "latest", maxRate = 0): unknown => ["subscribe", { symbols, mode, maxRate }];
const ignore = (): void => {};

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

describe("reconnecting", () => {
  test("a lost connection is made again after two seconds, with all subscriptions", async () => {
    const { client, states } = watched();
    client.subscribe(["A", "B"], ignore);
    client.subscribe("C", ignore, { mode: "every" });
    await settle();
    market.latest.end();
    await settle();
    expect(client.state).toBe("reconnecting");
    expect(client.error?.message).toBe("ended: LOST");
    await clock.advance(1_999);
    expect(market.tries).toHaveLength(1);
    await clock.advance(1);
    expect(market.latest.calls).toEqual([subscribed(["A", "B"]), subscribed(["C"], "every")]);
    expect(states).toEqual(["idle", "connecting", "connected", "reconnecting", "connected"]);
    expect(client.error).toBeUndefined();
  });

  test("what was delivered is not delivered again, and nothing older is", async () => {
    const client = makeClient();
    const { got, callback } = sink();
    client.subscribe(["A", "B"], callback);
    await settle();
    market.latest.send(price("A", 5), price("B", 6));
    market.latest.end();
    await clock.advance(2_000);
    market.latest.snapshot(price("A", 4), price("B", 6));
    market.latest.send(price("A", 5), price("A", 7));
    expect(got).toEqual([5, 6, 7]);
  });

  test("an unreachable server is tried six times, and then it is told to everybody", async () => {
    market.closed = "UNREACHABLE";
    const { client, states, errors } = watched();
    const told: Error[] = [];
    client.subscribe(["A", "B"], ignore, { onError: (error) => told.push(error) });
    const connected = client.connect();
    await settle();
    expect(clock.waiting).toEqual([2_000]);
    for (const delay of [2_000, 4_000, 8_000, 16_000, 32_000]) await clock.advance(delay);
    expect(market.tries).toHaveLength(6);
    await expect(connected).rejects.toBeInstanceOf(ConnectionFailedError);
    await expect(connected).rejects.toMatchObject({ attempts: 5, cause: { code: "UNREACHABLE" } });
    expect(states).toEqual(["idle", "connecting", "failed"]);
    expect(errors).toEqual([client.error]);
    expect(told).toEqual(errors);
    expect(clock.waiting).toEqual([]);
  });

  test("a failed client can be connected again and has all its subscriptions", async () => {
    market.closed = "UNREACHABLE";
    const { client, states } = watched({ reconnection: false });
    const { got, callback } = sink();
    client.subscribe("A", callback);
    await settle();
    expect(client.error).toMatchObject({ attempts: 0 });
    market.closed = "";
    await client.connect();
    await settle();
    market.latest.send(price("A", 1));
    expect(got).toEqual([1]);
    expect(states).toEqual(["idle", "connecting", "failed", "connecting", "connected"]);
  });

  test("who subscribes to a failed client is told that it has", async () => {
    market.closed = "AUTH_FAILED";
    const client = makeClient();
    await client.connect().catch(ignore);
    const told: Error[] = [];
    client.subscribe("A", ignore, { onError: (error) => told.push(error) });
    await settle();
    expect(told).toEqual([client.error]);
    expect(market.tries).toHaveLength(1);
  });

  test("the plan can be changed in part", async () => {
    market.closed = "UNREACHABLE";
    const client = makeClient({ reconnection: { attempts: 0, delayMs: 10, maxDelayMs: 20 } });
    void client.connect();
    await clock.advance(1_010);
    expect(market.tries).toHaveLength(52);
    expect(client.state).toBe("connecting");
  });

  test("a connection that never confirms counts as another failure", async () => {
    const client = makeClient();
    client.subscribe("A", ignore);
    await settle();
    for (const delay of [2_000, 4_000, 8_000]) {
      market.latest.end();
      market.answer = () => new Promise(ignore);
      await settle();
      expect(clock.waiting).toEqual([delay]);
      await clock.advance(delay);
    }
    market.answer = undefined;
    market.latest.end();
    await clock.advance(16_000);
    market.latest.end();
    await settle();
    expect(clock.waiting).toEqual([2_000]);
  });

  test("ten seconds of a connection that nothing was asked of are health too", async () => {
    const client = makeClient();
    await client.connect();
    market.latest.end();
    await clock.advance(2_000);
    await clock.advance(9_999);
    market.latest.end();
    await settle();
    expect(clock.waiting).toEqual([4_000]);
    await clock.advance(4_000);
    await clock.advance(10_000);
    market.latest.end();
    await settle();
    expect(clock.waiting).toEqual([2_000]);
  });

  test("a subscription made meanwhile is part of the next connection", async () => {
    const client = makeClient();
    client.subscribe("A", ignore);
    await settle();
    market.latest.end();
    await settle();
    client.unsubscribe("A");
    client.subscribe("B", ignore);
    await clock.advance(2_000);
    expect(market.latest.calls).toEqual([subscribed(["B"])]);
  });
});

describe("closing", () => {
  test("a closed client is silent, keeps its subscriptions, and opens again", async () => {
    const { client, states } = watched();
    const { got, callback } = sink();
    client.subscribe("A", callback);
    await settle();
    const first = market.latest;
    client.disconnect();
    client.disconnect();
    expect(first.closed).toBe(true);
    first.end();
    await clock.advance(100_000);
    expect(market.tries).toHaveLength(1);
    await client.connect();
    await settle();
    market.latest.send(price("A", 1));
    expect(got).toEqual([1]);
    expect(states).toEqual(["idle", "connecting", "connected", "closed", "connecting", "connected"]);
  });

  test("closing while connecting rejects who waits and lets nothing open", async () => {
    const client = makeClient();
    const connected = client.connect();
    client.disconnect();
    await expect(connected).rejects.toMatchObject({ code: "CLOSED" });
    await clock.advance(100_000);
    expect(market.connections.filter((connection) => !connection.closed)).toEqual([]);
    expect(client.state).toBe("closed");
  });

  test("closing ends the wait for the next attempt", async () => {
    market.closed = "UNREACHABLE";
    const client = makeClient();
    client.connect().catch(ignore);
    await settle();
    client.disconnect();
    expect(clock.waiting).toEqual([]);
  });

  test("a listener may close and open in the middle of a change", async () => {
    const client = makeClient();
    let times = 0;
    client.onState((state) => {
      if (state !== "connected" || times++ > 0) return;
      client.disconnect();
      void client.connect();
    });
    client.subscribe("A", ignore);
    await clock.advance(10_000);
    expect(client.state).toBe("connected");
    expect(market.connections.map(({ closed }) => closed)).toEqual([true, false]);
    expect(market.latest.calls).toEqual([subscribed(["A"])]);
  });
});

describe("tokens", () => {
  test("a refused token that never changes fails at once", async () => {
    market.closed = "AUTH_FAILED";
    const { client, states, errors } = watched();
    client.subscribe("A", ignore);
    await expect(client.connect()).rejects.toBeInstanceOf(AuthenticationError);
    expect(market.tries).toHaveLength(1);
    expect(states).toEqual(["idle", "connecting", "failed"]);
    expect(errors).toMatchObject([{ code: "AUTH_FAILED" }]);
  });

  test("a token function is asked for each attempt", async () => {
    market.refusals = ["UNREACHABLE", "AUTH_FAILED"];
    let count = 0;
    const client = makeClient({ getToken: () => Promise.resolve(`t${++count}`) });
    client.subscribe("A", ignore);
    await clock.advance(2_000);
    expect(market.tries.map(({ token }) => token)).toEqual(["t1", "t2", "t3"]);
    expect(client.state).toBe("connected");
  });

  test("a function whose tokens are refused twice in a row fails", async () => {
    market.closed = "AUTH_FAILED";
    const client = makeClient({ getToken: () => "bad" });
    await expect(client.connect()).rejects.toBeInstanceOf(AuthenticationError);
    expect(market.tries).toHaveLength(2);
  });

  test("a token that is about to end is replaced on the same connection", async () => {
    let count = 0;
    const { client, states } = watched({ getToken: () => `t${++count}` });
    await client.connect();
    market.latest.event("token_expiring", { expiresAt: 1 });
    await settle();
    expect(market.latest.tokens).toEqual(["t2"]);
    expect(states).toEqual(["idle", "connecting", "connected"]);
  });

  test("a token function that fails to renew is told, and the connection goes on", async () => {
    const tokens = ["t1"];
    const getToken = (): string => tokens.pop() ?? raise(new Error("no more tokens"));
    const { client, errors } = watched({ getToken });
    await client.connect();
    market.latest.event("token_expiring", { expiresAt: 1 });
    await settle();
    expect(errors).toMatchObject([{ message: "no more tokens" }]);
    expect(client.isConnected()).toBe(true);
  });

  test("a token function that fails is a failed attempt", async () => {
    let calls = 0;
    const getToken = (): string => (++calls < 3 ? raise(new Error("away")) : "t");
    const client = makeClient({ getToken });
    void client.connect();
    await clock.advance(6_000);
    expect(client.isConnected()).toBe(true);
  });

  test("a token that ended is replaced at once; one that never changes is the end", async () => {
    const renewing = makeClient({ getToken: () => "t" });
    renewing.subscribe("A", ignore);
    await settle();
    market.latest.end("TOKEN_EXPIRED");
    await clock.advance(0);
    expect(market.connections).toHaveLength(2);
    const fixed = makeClient();
    fixed.subscribe("A", ignore);
    await settle();
    market.latest.end("TOKEN_EXPIRED");
    await settle();
    expect(fixed.state).toBe("failed");
    expect(fixed.error).toBeInstanceOf(AuthenticationError);
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

function raise(error: Error): never {
  throw error;
}
