import { describe, expect, test } from "vitest";

import type { EventFilter } from "../src/core/model.js";
import { ASKED, clock, errors, ignore, makeClient, market, refusing, send, settled, sink, subscribed, unsubscribed } from "./support/events.js";
import { Market, marketEvent } from "./support/market.js";

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
    makeClient({ transport: bare }).subscribeEvents("mine", {}, ignore);
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
