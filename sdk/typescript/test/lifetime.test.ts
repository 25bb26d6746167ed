import { describe, expect, test } from "vitest";

import { AuthenticationError, ConnectionFailedError } from "../src/core/errors.js";
import { settle } from "./support/clock.js";
import { clock, ignore, makeClient, market, sink, subscribed, watched } from "./support/client.js";
import { price } from "./support/market.js";

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

  test("half a minute of a connection that nothing was asked of is health too", async () => {
    const client = makeClient();
    await client.connect();
    market.latest.end();
    await clock.advance(2_000);
    await clock.advance(29_999);
    market.latest.end();
    await settle();
    expect(clock.waiting).toEqual([4_000]);
    await clock.advance(4_000);
    await clock.advance(30_000);
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

function raise(error: Error): never {
  throw error;
}
