import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { MarketDataClient, type MarketDataClientOptions, sse } from "../src/sse.js";
import { FakeClock } from "./support/clock.js";
import { price } from "./support/market.js";
import { StreamServer } from "./support/streams.js";

let clock: FakeClock;
let server: StreamServer;
let clients: MarketDataClient[];

beforeEach(async () => {
  clock = new FakeClock();
  server = new StreamServer();
  clients = [];
  await server.start();
});

afterEach(async () => {
  for (const client of clients) client.disconnect();
  await server.stop();
});

function makeClient(options: Partial<MarketDataClientOptions> = {}): MarketDataClient {
  const client = new MarketDataClient({ url: server.url, token: "t", timer: clock.timer, random: () => 0, ...options });
  clients.push(client);
  return client;
}

/** Waits until something holds. */
function holds(check: () => unknown): Promise<void> {
  return vi.waitFor(() => expect(check()).toBeTruthy(), { timeout: 5_000, interval: 5 });
}

/** Waits until a number of streams have been opened and the last of them is the only one. */
function streams(count: number): Promise<void> {
  return holds(() => server.opened.length === count && server.opened.slice(0, -1).every(({ gone }) => gone));
}

const ignore = (): void => {};

test("a stream is asked for with the token in a header and delivers prices", async () => {
  const got: number[] = [];
  const client = makeClient();
  client.subscribe(["eur/usd", "A"], ({ timestamp }) => got.push(timestamp));
  await holds(() => client.isConnected());
  server.price(price("EUR/USD", 1), 1);
  server.price(price("EUR/USD", 1), 2);
  server.price(price("A", 2), 3);
  await holds(() => got.length === 2);
  expect(got).toEqual([1, 2]);
  expect(Object.fromEntries(server.latest.query)).toEqual({ symbols: "EUR/USD,A" });
  expect(server.latest.headers.authorization).toBe("Bearer t");
});

test("the token goes into the address only when that was asked for", async () => {
  makeClient({ transport: sse({ tokenInUrl: true }) }).subscribe("A", ignore);
  await streams(1);
  expect(server.latest.query.get("token")).toBe("t");
  expect(server.latest.headers.authorization).toBeUndefined();
});

test("the highest rate of all symbols is the stream's, and none means no limit", async () => {
  const client = makeClient();
  client.subscribe("A", ignore, { maxRate: 2 });
  client.subscribe("B", ignore, { maxRate: 5 });
  await streams(1);
  expect(server.latest.query.get("maxRate")).toBe("5");
  client.subscribe("C", ignore);
  await streams(2);
  expect(server.latest.query.get("maxRate")).toBeNull();
});

test("a new symbol opens another stream before the old one ends, from the start", async () => {
  const client = makeClient();
  const got: number[] = [];
  client.subscribe("A", ({ timestamp }) => got.push(timestamp));
  await streams(1);
  server.price(price("A", 1), 100);
  await holds(() => got.length === 1);
  client.subscribe("B", ignore);
  client.subscribe("C", ignore);
  await streams(2);
  expect(server.latest.query.get("symbols")).toBe("A,B,C");
  expect(server.latest.beside).toBe(1);
  expect(server.latest.headers["last-event-id"]).toBeUndefined();
  server.price(price("A", 1), 100);
  server.price(price("A", 2), 101);
  await holds(() => got.length === 2);
  expect(got).toEqual([1, 2]);
  expect(client.isConnected()).toBe(true);
});

test("with fewer symbols, or after a cut, a stream goes on from the newest id", async () => {
  const client = makeClient();
  client.subscribe("A", ignore);
  client.subscribe("B", ignore);
  await streams(1);
  server.price(price("A", 1), 100);
  server.price(price("B", 2), 101);
  await holds(() => client.lastPrice("B"));
  client.unsubscribe("A");
  await streams(2);
  expect(server.latest.headers["last-event-id"]).toBe("B-2@101");
  server.latest.response.end();
  await holds(() => client.state === "reconnecting");
  await clock.advance(2_000);
  await holds(() => client.isConnected());
  expect(server.latest.headers["last-event-id"]).toBe("B-2@101");
});

test("a symbol that was left and is wanted again is sent from the start", async () => {
  const client = makeClient();
  client.subscribe("A", ignore);
  client.subscribe("B", ignore);
  await streams(1);
  server.price(price("A", 1), 100);
  server.price(price("B", 2), 101);
  await holds(() => client.lastPrice("B"));
  client.unsubscribe("A");
  await streams(2);
  client.subscribe("A", ignore);
  await streams(3);
  expect(server.latest.headers["last-event-id"]).toBeUndefined();
});

test("when the last consumer leaves the stream ends and the client stays connected", async () => {
  const client = makeClient();
  const leave = client.subscribe("A", ignore);
  await streams(1);
  leave();
  await holds(() => server.latest.gone);
  expect(client.isConnected()).toBe(true);
});

test("a symbol that is not possible is told, and the stream stays", async () => {
  const told: string[] = [];
  const client = makeClient();
  client.subscribe(["A", "B"], ignore, { onError: (error) => told.push(error.message) });
  await streams(1);
  server.event("subscribed", { subscribed: ["A"], errors: ["B: not entitled"] });
  await holds(() => told.length > 0);
  server.price(price("A", 1), 1);
  await holds(() => client.lastPrice("A"));
  expect(told).toEqual(["B: not entitled"]);
  expect(server.opened).toHaveLength(1);
});

test("when no symbol is possible each is told its reason", async () => {
  server.refusals = [{ status: 403, code: "NOT_ENTITLED", message: "A: not entitled; B: max subscriptions reached" }];
  const told: string[] = [];
  const client = makeClient();
  client.onError((error) => told.push(error.message));
  client.subscribe(["A", "B"], ignore);
  await holds(() => told.length === 2);
  expect(told).toEqual(["A: not entitled", "B: max subscriptions reached"]);
  expect(client.state).not.toBe("failed");
});

test("a refused token fails at once, or is replaced at once", async () => {
  server.refusals = Array.from({ length: 2 }, () => ({ status: 401, code: "AUTH_FAILED" }));
  const fixed = makeClient();
  fixed.subscribe("A", ignore);
  await holds(() => fixed.state === "failed");
  expect(fixed.error?.name).toBe("AuthenticationError");
  let count = 0;
  const renewing = makeClient({ getToken: () => `t${++count}` });
  renewing.subscribe("A", ignore);
  await holds(() => renewing.isConnected());
  expect(server.latest.headers.authorization).toBe("Bearer t2");
});

test("a server that names a time is left alone until then", async () => {
  server.refusals = [{ status: 429, code: "CONNECTION_LIMIT", headers: { "Retry-After": "9" } }];
  const client = makeClient();
  client.subscribe("A", ignore);
  await holds(() => client.error);
  await holds(() => clock.waiting.length === 1);
  expect(clock.waiting).toEqual([9_000]);
});

test("where a plan allows one connection, the old stream makes room for the new", async () => {
  const client = makeClient();
  client.subscribe("A", ignore);
  await streams(1);
  server.refusals = [{ status: 429, code: "CONNECTION_LIMIT" }];
  client.subscribe("B", ignore);
  await streams(3);
  expect(server.latest.query.get("symbols")).toBe("A,B");
  expect(client.isConnected()).toBe(true);
});

test("a stream that is silent for 40 s is given up", async () => {
  const client = makeClient();
  client.subscribe("A", ignore);
  await holds(() => client.isConnected());
  await clock.advance(30_000);
  server.latest.response.write(": \n\n");
  await holds(() => clock.waiting.at(-1) === 40_000);
  await clock.advance(39_999);
  expect(client.isConnected()).toBe(true);
  await clock.advance(1);
  await holds(() => client.state === "reconnecting");
  expect(client.error?.message).toContain("40000 ms");
});

test("a server that does not answer in ten seconds counts as unreachable", async () => {
  server.deaf = true;
  const client = makeClient();
  client.subscribe("A", ignore);
  await holds(() => server.opened.length === 1);
  await clock.advance(10_000);
  await holds(() => client.error);
  expect(client.error).toMatchObject({ code: "TIMEOUT" });
  await holds(() => server.latest.gone);
});

test("a token that is about to end is replaced by a stream that goes on where the old one is", async () => {
  let count = 0;
  const client = makeClient({ getToken: () => `t${++count}` });
  const states: string[] = [];
  client.onState((state) => states.push(state));
  client.subscribe("A", ignore);
  await streams(1);
  server.price(price("A", 1), 100);
  await holds(() => client.lastPrice("A"));
  server.event("token_expiring", { expiresAt: 1 });
  await streams(2);
  expect(server.latest.headers).toMatchObject({ authorization: "Bearer t2", "last-event-id": "A-1@100" });
  expect(states).toEqual(["connecting", "connected"]);
});

test("a token that the server does not take leaves the stream as it is", async () => {
  const states: string[] = [];
  const failures: string[] = [];
  let count = 0;
  const client = makeClient({ getToken: () => `t${++count}` });
  const got: number[] = [];
  client.onState((state) => states.push(state));
  client.onError((error) => failures.push(error.message));
  client.subscribe("A", ({ timestamp }) => got.push(timestamp));
  await streams(1);
  const first = server.latest;
  server.refusals = [{ status: 401, code: "AUTH_FAILED", message: "token signature is wrong" }];
  server.event("token_expiring", { expiresAt: 1 });
  await holds(() => failures.length === 1);
  expect(failures).toEqual(["token signature is wrong"]);
  first.response.write(`event: price\nid: A-1@1\ndata: ${JSON.stringify(price("A", 1))}\n\n`);
  await holds(() => got.length === 1);
  expect(first.gone).toBe(false);
  expect(states).toEqual(["connecting", "connected"]);
});

test("a token that ended is replaced at once", async () => {
  let count = 0;
  const client = makeClient({ getToken: () => `t${++count}` });
  client.subscribe("A", ignore);
  await holds(() => client.isConnected());
  server.event("error", { code: "TOKEN_EXPIRED", message: "the token has expired" });
  await holds(() => server.opened.length === 2 && client.isConnected());
  expect(server.latest.headers.authorization).toBe("Bearer t2");
});

test("a quote is read over HTTP, and one that there is not says why", async () => {
  server.body = { symbol: "EUR/USD", price: 1 };
  const client = makeClient();
  await expect(client.getQuote("eur/usd")).resolves.toEqual(server.body);
  expect(server.latest.path).toBe("/api/v1/market/quote/EUR%2FUSD");
  server.refusals = [{ status: 404, code: "UNKNOWN_SYMBOL" }];
  await expect(client.getQuote("NOPE")).rejects.toMatchObject({ name: "RequestError", code: "UNKNOWN_SYMBOL" });
});

test("a stream that comes byte by byte is read whole", async () => {
  const client = makeClient();
  client.subscribe("A", ignore);
  await streams(1);
  const text = `event: price\nid: A-1@1\ndata: ${JSON.stringify(price("A", 1, { bestAsk: { price: 1, size: 2, source: "bör$e" } }))}\n\n`;
  for (const byte of Buffer.from(text)) server.latest.response.write(Buffer.from([byte]));
  await holds(() => client.lastPrice("A"));
  expect(client.lastPrice("A")?.bestAsk?.source).toBe("bör$e");
});
