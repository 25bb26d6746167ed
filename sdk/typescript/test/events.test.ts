import { beforeEach, describe, expect, test, vi } from "vitest";

import { type ClientOptions, CoreClient } from "../src/client.js";
import type { EventFilter, MarketEvent } from "../src/core/model.js";
import { FakeClock, settle } from "./support/clock.js";
import { Market, marketEvent } from "./support/market.js";

let clock: FakeClock;
let market: Market;
let errors: string[];

beforeEach(() => {
  clock = new FakeClock();
  market = new Market();
  errors = [];
});

function makeClient(options: Partial<ClientOptions> = {}): CoreClient {
  const client = new CoreClient({ url: "http://x/", token: "t", timer: clock.timer, random: () => 0, transport: market, ...options });
  client.onError((error) => errors.push((error as Error & { code: string }).code));
  return client;
}

/** Lets event streams be loaded, and then every promise settle that can. */
async function settled(): Promise<void> {
  await vi.dynamicImportSettled();
  await settle();
}

/** A callback that notes the ids it got. */
function sink(): { got: string[]; callback: (event: MarketEvent) => void } {
  const got: string[] = [];
  return { got, callback: ({ id }) => got.push(id) };
}

/** Sends events as one message, and waits until they are delivered. */
async function send(...events: MarketEvent[]): Promise<void> {
  market.latest.event("events", { events });
  await settled();
}

const ASKED: unknown = ["event_subscriptions", {}];
const subscribed = (name: string, filter: EventFilter = {}): unknown => ["subscribe_events", { name, filter }];
const unsubscribed = (name: string): unknown => ["unsubscribe_events", { name }];
const ignore = (): void => {};

/** A server that knows no field `typs`. */
function refusing(event: string, { filter }: Record<string, unknown>): unknown {
  const refused = event === "subscribe_events" && "typs" in (filter as object);
  return refused ? { error: "typs: is no field of a filter", code: "INVALID_MESSAGE" } : undefined;
}

describe("subscribing", () => {
  test("it connects, asks what the server has, and says what is missing", async () => {
    market.held.set("theirs", {});
    const client = makeClient();
    client.subscribeEvents("mine", { types: ["pattern"], minConfidence: 0.5 }, ignore);
    await settled();
    expect(client.isConnected()).toBe(true);
    expect(market.latest.listened).toEqual([true]);
    expect(market.latest.calls).toEqual([ASKED, subscribed("mine", { types: ["pattern"], minConfidence: 0.5 })]);
    expect([...market.held.keys()]).toEqual(["theirs", "mine"]);
  });

  test("events go to the callbacks of the names they matched", async () => {
    const client = makeClient();
    const [one, two] = [sink(), sink()];
    client.subscribeEvents("one", {}, one.callback);
    client.subscribeEvents("two", {}, two.callback);
    await settled();
    await send(marketEvent("a", ["one"]), marketEvent("b", ["two", "unknown"]), marketEvent("c", ["unknown"]));
    expect([one.got, two.got]).toEqual([["a"], ["b"]]);
  });

  test("what the type says of an event's data reaches the callback", async () => {
    let target: number | undefined;
    makeClient().subscribeEvents<{ target: number }>("mine", {}, ({ data }) => (target = data.target));
    await settled();
    await send(marketEvent("a", ["mine"], { data: { target: 7 } }));
    expect(target).toBe(7);
  });

  test("an event for everybody reaches every callback and every listener, others no listener", async () => {
    const client = makeClient();
    const [one, two, all] = [sink(), sink(), sink()];
    client.subscribeEvents("one", {}, one.callback);
    client.subscribeEvents("two", {}, two.callback);
    const off = client.onEvent(all.callback);
    await settled();
    await send(marketEvent("a"), marketEvent("b", ["one"]));
    off();
    await send(marketEvent("c"));
    expect([one.got, two.got, all.got]).toEqual([["a", "b", "c"], ["a", "c"], ["a"]]);
  });

  test("a callback gets an event once, by whatever names and however often it comes", async () => {
    const client = makeClient();
    const [both, late] = [sink(), sink()];
    client.subscribeEvents("one", {}, both.callback);
    client.subscribeEvents("two", {}, both.callback);
    await settled();
    await send(marketEvent("a", ["one", "two"]), marketEvent("a", ["one", "two"]));
    client.subscribeEvents("two", {}, late.callback);
    await settled();
    await send(marketEvent("a", ["one", "two"]));
    expect([both.got, late.got]).toEqual([["a"], ["a"]]);
  });

  test("the memory of ids is bounded, and what was forgotten is delivered again", async () => {
    const { got, callback } = sink();
    makeClient().subscribeEvents("mine", {}, callback);
    await settled();
    const many = Array.from({ length: 1_000 }, (_, index) => marketEvent(`n${index}`, ["mine"]));
    await send(marketEvent("first", ["mine"]), ...many, marketEvent("first", ["mine"]), marketEvent("n999", ["mine"]));
    expect(got.filter((id) => id === "first")).toHaveLength(2);
    expect(got.filter((id) => id === "n999")).toHaveLength(1);
  });

  test("a callback that throws is logged and harms no other", async () => {
    const log = vi.spyOn(console, "error").mockImplementation(ignore);
    const client = makeClient();
    const { got, callback } = sink();
    client.subscribeEvents("mine", {}, () => {
      throw new Error("mine");
    });
    client.subscribeEvents("mine", {}, callback);
    await settled();
    await send(marketEvent("a", ["mine"]), marketEvent("b", ["mine"]));
    expect(got).toEqual(["a", "b"]);
    expect(log).toHaveBeenCalledTimes(2);
  });

  test("how many were left out is told", async () => {
    const client = makeClient();
    const dropped: number[] = [];
    const off = client.onEventsDropped((count) => dropped.push(count));
    await client.connect();
    market.latest.event("events", { events: [], dropped: 3 });
    market.latest.event("events", { events: [] });
    await settled();
    off();
    market.latest.event("events", { events: [], dropped: 4 });
    await settled();
    expect(dropped).toEqual([3]);
    expect(market.latest.listened).toEqual([]);
  });

  test("what makes no sense is passed over", async () => {
    const { got, callback } = sink();
    makeClient().subscribeEvents("mine", {}, callback);
    await settled();
    market.latest.event("events", { events: [null, { id: "x" }, { ...marketEvent("y"), matched: 7 }, marketEvent("z", ["mine"])] });
    market.latest.event("events", undefined);
    await settled();
    expect(got).toEqual(["z"]);
  });
});

describe("consumers", () => {
  test("those of one name share the subscription, and the last one to leave ends it", async () => {
    const client = makeClient();
    const [one, two] = [sink(), sink()];
    const leave = client.subscribeEvents("mine", { types: ["a", "b"], symbols: ["msft"] }, one.callback);
    const leaveToo = client.subscribeEvents("mine", { symbols: ["MSFT"], types: ["b", "a"] }, two.callback);
    await settled();
    leave();
    leave();
    await send(marketEvent("a", ["mine"]));
    expect([one.got, two.got]).toEqual([[], ["a"]]);
    expect(market.held.size).toBe(1);
    leaveToo();
    await settled();
    await send(marketEvent("b", ["mine"]), marketEvent("c"));
    expect(two.got).toEqual(["a"]);
    expect(market.latest.calls.slice(2)).toEqual([unsubscribed("mine")]);
    expect(market.latest.listened).toEqual([true, false]);
  });

  test("one that leaves in the midst of a message hears no more of it", async () => {
    const client = makeClient();
    const got: string[] = [];
    const leave = client.subscribeEvents("mine", {}, ({ id }) => {
      got.push(id);
      leave();
    });
    await settled();
    await send(marketEvent("a", ["mine"]), marketEvent("b", ["mine"]));
    expect(got).toEqual(["a"]);
  });

  test("one that is made to leave by another hears no more either", async () => {
    const client = makeClient();
    const { got, callback } = sink();
    let leave = ignore;
    client.subscribeEvents("mine", {}, () => leave());
    leave = client.subscribeEvents("mine", {}, callback);
    await settled();
    await send(marketEvent("a", ["mine"]));
    expect(got).toEqual([]);
  });

  test("one that comes back is subscribed again", async () => {
    const client = makeClient();
    client.subscribeEvents("mine", {}, ignore);
    await settled();
    for (const round of [1, 2]) {
      const leave = client.subscribeEvents("often", {}, ignore);
      await settled();
      expect([...market.held.keys()], `round ${round}`).toEqual(["mine", "often"]);
      leave();
      await settled();
    }
    expect([...market.held.keys()]).toEqual(["mine"]);
  });

  test("one that leaves at once says nothing", async () => {
    const client = makeClient();
    await client.connect();
    client.subscribeEvents("mine", {}, ignore)();
    await settled();
    expect(market.latest.calls).toEqual([]);
  });

  test("another filter for a name in use is refused, and harms the first one not", async () => {
    const client = makeClient();
    const { got, callback } = sink();
    const told: string[] = [];
    client.subscribeEvents("mine", { types: ["a"] }, callback);
    const leave = client.subscribeEvents("mine", { types: ["b"] }, ignore, { onError: (error) => told.push(error.message) });
    await settled();
    leave();
    await send(marketEvent("a", ["mine"]));
    expect(told).toEqual(["mine: is in use with another filter"]);
    expect(errors).toEqual(["CONFLICT"]);
    expect(got).toEqual(["a"]);
    expect(market.held.get("mine")).toEqual({ types: ["a"] });
  });

  test("a name that was left is free for another filter", async () => {
    const client = makeClient();
    const leave = client.subscribeEvents("mine", { types: ["a"] }, ignore);
    await settled();
    leave();
    client.subscribeEvents("mine", { types: ["b"] }, ignore);
    await settled();
    expect(market.latest.calls.slice(2)).toEqual([subscribed("mine", { types: ["b"] })]);
    expect(errors).toEqual([]);
  });

  test("what changes while an answer is awaited is said afterwards", async () => {
    const client = makeClient();
    const leave = client.subscribeEvents("one", {}, ignore);
    await client.connect();
    market.latest.mute = true;
    await settled();
    leave();
    client.subscribeEvents("two", {}, ignore);
    await settled();
    expect(market.latest.calls).toEqual([ASKED]);
    market.latest.speak();
    await settled();
    expect([...market.held.keys()]).toEqual(["two"]);
  });

  test("no filter at all wants everything", async () => {
    makeClient().subscribeEvents("mine", undefined as unknown as EventFilter, ignore);
    await settled();
    expect(market.latest.calls).toEqual([ASKED, subscribed("mine")]);
  });

  test("a filter that is changed afterwards changes no subscription", async () => {
    const client = makeClient();
    const types = ["a"];
    client.subscribeEvents("mine", { types }, ignore);
    await settled();
    types.push("b");
    market.latest.end();
    market.held.clear();
    await clock.advance(2_000);
    await settled();
    expect(market.held.get("mine")).toEqual({ types: ["a"] });
  });
});

describe("failures", () => {
  test("what the server does not take is dropped and told, and its name is free again", async () => {
    const told: Error[] = [];
    const bad = { typs: ["a"] } as EventFilter;
    market.answer = refusing;
    const client = makeClient();
    const leave = client.subscribeEvents("mine", bad, ignore, { onError: (error) => told.push(error) });
    client.subscribeEvents("good", {}, ignore);
    await settled();
    expect(told).toMatchObject([{ name: "RequestError", code: "INVALID_MESSAGE", message: "mine: typs: is no field of a filter" }]);
    expect(errors).toEqual(["INVALID_MESSAGE"]);
    client.subscribeEvents("mine", {}, ignore);
    await settled();
    leave();
    await settled();
    expect(market.latest.calls.slice(1)).toEqual([subscribed("mine", bad), subscribed("good"), subscribed("mine")]);
  });

  test("a refusal of what is not wanted any more harms nobody", async () => {
    market.answer = refusing;
    const client = makeClient();
    await client.connect();
    const leave = client.subscribeEvents("mine", { typs: ["a"] } as EventFilter, ignore);
    client.onEvent(ignore);
    market.latest.mute = true;
    await settled();
    market.latest.speak();
    market.latest.mute = true;
    await settled();
    leave();
    client.subscribeEvents("mine", { types: ["a"] }, ignore);
    market.latest.speak();
    await settled();
    expect(errors).toEqual([]);
    expect(market.held.get("mine")).toEqual({ types: ["a"] });
  });

  test.each(["UNKNOWN_EVENT", "NOT_ENTITLED"])("a server that answers %s to everything refuses all", async (code) => {
    market.answer = () => ({ error: "no", code });
    const client = makeClient();
    client.onEvent(ignore);
    client.subscribeEvents("one", {}, ignore)();
    client.subscribeEvents("two", {}, ignore);
    client.subscribeEvents("three", {}, ignore);
    await settled();
    expect(errors).toEqual([code, code]);
    expect(client.isConnected()).toBe(true);
    expect(market.latest.calls).toEqual([ASKED]);
  });

  test.each([
    ["RATE_LIMITED", 700, 700, []],
    ["UNAVAILABLE", 0, 1_000, ["UNAVAILABLE"]],
  ])("%s passes, and is waited for", async (code, retryAfterMs, pause, told) => {
    let failures = 2;
    market.answer = (event) => (event === "subscribe_events" && failures-- > 0 ? { error: "not now", code, retryAfterMs } : undefined);
    makeClient().subscribeEvents("mine", {}, ignore);
    await settled();
    await clock.advance(pause * 2 - 1);
    await settled();
    expect(market.held.size).toBe(0);
    await clock.advance(1);
    await settled();
    expect(market.held.size).toBe(1);
    expect(errors).toEqual([...told, ...told]);
  });

  test("a transport without event streams says so", async () => {
    const bare = new (class extends Market {
      override async open(...args: Parameters<Market["open"]>): ReturnType<Market["open"]> {
        return Object.assign(await super.open(...args), { events: undefined });
      }
    })();
    market = bare;
    makeClient().subscribeEvents("mine", {}, ignore);
    await settled();
    expect(errors).toEqual(["UNSUPPORTED"]);
  });

  test("a client that has failed tells those who come later, and those who are there", async () => {
    market.closed = "AUTH_FAILED";
    const client = makeClient();
    const told: string[] = [];
    const onError = (error: Error): void => void told.push(error.name);
    client.subscribeEvents("mine", {}, ignore, { onError });
    await settled();
    client.subscribeEvents("mine", {}, ignore, { onError });
    await settled();
    expect(told).toEqual(["AuthenticationError", "AuthenticationError"]);
    market.closed = "";
    await client.connect();
    await settled();
    expect(market.held.size).toBe(1);
  });
});

describe("reconnecting", () => {
  test("a server that kept everything is told nothing", async () => {
    const client = makeClient();
    const { got, callback } = sink();
    client.subscribeEvents("mine", { symbols: ["msft", "AAPL"] }, callback);
    await settled();
    await send(marketEvent("a", ["mine"]));
    market.latest.end();
    await clock.advance(2_000);
    await settled();
    await send(marketEvent("a", ["mine"]), marketEvent("b", ["mine"]));
    expect(market.latest.calls).toEqual([ASKED]);
    expect(market.latest.listened).toEqual([true]);
    expect(got).toEqual(["a", "b"]);
  });

  test("a server that forgot is told again, what differs too, and others' are left alone", async () => {
    const client = makeClient();
    client.subscribeEvents("gone", {}, ignore);
    client.subscribeEvents("same", { types: ["a"] }, ignore);
    client.subscribeEvents("other", { types: ["a"] }, ignore);
    await settled();
    market.latest.end();
    market.held.delete("gone");
    market.held.set("other", { types: ["b"] }).set("theirs", {});
    await clock.advance(2_000);
    await settled();
    expect(market.latest.calls).toEqual([ASKED, subscribed("gone"), subscribed("other", { types: ["a"] })]);
    expect([...market.held.keys()].sort()).toEqual(["gone", "other", "same", "theirs"]);
  });

  test("what was left without a connection is ended with the next", async () => {
    const client = makeClient();
    const leave = client.subscribeEvents("mine", {}, ignore);
    await settled();
    market.latest.end();
    leave();
    await clock.advance(2_000);
    await settled();
    expect(market.latest.calls).toEqual([ASKED, unsubscribed("mine")]);
    expect(market.held.size).toBe(0);
  });

  test("a call that was under way when the connection broke is made again", async () => {
    const client = makeClient();
    await client.connect();
    market.latest.mute = true;
    client.subscribeEvents("mine", {}, ignore);
    await settled();
    market.latest.end();
    await clock.advance(2_000);
    await settled();
    expect(market.latest.calls).toEqual([ASKED, subscribed("mine")]);
  });

  test("a closed client keeps its consumers, and the server their subscriptions", async () => {
    const client = makeClient();
    const { got, callback } = sink();
    client.subscribeEvents("mine", {}, callback);
    await settled();
    client.disconnect();
    expect(market.held.size).toBe(1);
    await client.connect();
    await settled();
    await send(marketEvent("a", ["mine"]));
    expect(got).toEqual(["a"]);
  });

  test("a transport that is asked for a connection can know whether events are wanted", async () => {
    const client = makeClient();
    await client.connect();
    expect(await market.tries[0]?.events()).toBe(false);
    const leave = client.subscribeEvents("mine", {}, ignore);
    expect(await market.tries[0]?.events()).toBe(true);
    await settled();
    leave();
    expect(await market.tries[0]?.events()).toBe(false);
  });
});
