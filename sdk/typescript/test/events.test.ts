import { describe, expect, test, vi } from "vitest";

import type { EventFilter } from "../src/core/model.js";
import { ASKED, clock, errors, ignore, makeClient, market, send, settled, sink, subscribed, unsubscribed } from "./support/events.js";
import { marketEvent } from "./support/market.js";

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
