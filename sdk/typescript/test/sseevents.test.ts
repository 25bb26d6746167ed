import { afterEach, beforeEach, expect, test, vi } from "vitest";

import type { MarketEvent } from "../src/core/model.js";
import { MarketDataClient, type MarketDataClientOptions, sse } from "../src/sse.js";
import { FakeClock } from "./support/clock.js";
import { marketEvent, price } from "./support/market.js";
import { type Opened, StreamServer } from "./support/streams.js";

const STREAM = "/api/v1/events/stream";
const LIST = "/api/v1/events/subscriptions";

let clock: FakeClock;
let server: StreamServer;
let client: MarketDataClient;
let errors: string[];

beforeEach(async () => {
  clock = new FakeClock();
  server = new StreamServer();
  errors = [];
  await server.start();
});

afterEach(async () => {
  client.disconnect();
  await server.stop();
});

function makeClient(options: Partial<MarketDataClientOptions> = {}): MarketDataClient {
  client = new MarketDataClient({ url: server.url, token: "t", timer: clock.timer, random: () => 0, ...options });
  client.onError((error) => errors.push((error as Error & { code: string }).code));
  return client;
}

function holds(check: () => unknown): Promise<void> {
  return vi.waitFor(() => expect(check()).toBeTruthy(), { timeout: 5_000, interval: 5 });
}

/** Requests so far for a path, or for all that begin with it. */
const asked = (path: string): Opened[] => server.opened.filter((one) => one.path.startsWith(path));
const said = (): string[] => asked(LIST).map(({ method, path }) => `${method} ${path.slice(LIST.length)}`);

/** Waits until so many streams of events were opened, all but the last are gone, and all was said. */
function settled(streams: number, calls: number): Promise<void> {
  const gone = (all: Opened[]): boolean => all.slice(0, -1).every((one) => one.gone);
  return holds(() => asked(STREAM).length === streams && gone(asked(STREAM)) && asked(LIST).length === calls);
}

/** Sends an event on a stream. */
function send(stream: Opened | undefined, event: MarketEvent): void {
  stream?.response.write(`event: events\ndata: ${JSON.stringify({ events: [event] })}\n\n`);
}

const ignore = (): void => {};

test("a stream of its own brings events, and requests say what is wanted", async () => {
  const got: string[] = [];
  const leave = makeClient().subscribeEvents("my / name", { types: ["pattern"] }, ({ id }) => got.push(id));
  await settled(1, 2);
  send(asked(STREAM)[0], marketEvent("a", ["my / name"]));
  await holds(() => got.length === 1);
  leave();
  await settled(1, 3);
  await holds(() => asked(STREAM)[0]?.gone);
  expect(said()).toEqual(["GET ", "PUT /my%20%2F%20name", "DELETE /my%20%2F%20name"]);
  expect(asked(LIST)[1]).toMatchObject({ body: '{"types":["pattern"]}', headers: { "content-type": "application/json" } });
  expect(server.opened.map(({ headers }) => headers.authorization)).toEqual(Array(4).fill("Bearer t"));
  expect(client.state).toBe("connected");
});

test("prices and events flow beside each other, and both end with the client", async () => {
  const got: unknown[] = [];
  makeClient().subscribe("A", ({ timestamp }) => got.push(timestamp));
  client.subscribeEvents("mine", {}, ({ id }) => got.push(id));
  await settled(1, 2);
  const [prices] = asked("/market-data/stream");
  send(asked(STREAM)[0], marketEvent("a"));
  await holds(() => got.length === 1);
  prices?.response.write(`event: price\nid: A-7@7\ndata: ${JSON.stringify(price("A", 7))}\n\n`);
  await holds(() => got.length === 2);
  expect(got).toEqual(["a", 7]);
  client.disconnect();
  await holds(() => prices?.gone && asked(STREAM)[0]?.gone);
});

test("listening to what is sent to everybody needs no subscription", async () => {
  const got: string[] = [];
  await makeClient().connect();
  const off = client.onEvent(({ id }) => got.push(id));
  await settled(1, 0);
  send(asked(STREAM)[0], marketEvent("a"));
  await holds(() => got.length === 1);
  off();
  await holds(() => asked(STREAM)[0]?.gone);
});

test("when the stream breaks the client comes back and asks what is left", async () => {
  makeClient().subscribeEvents("mine", {}, ignore);
  await settled(1, 2);
  server.body = { subscriptions: [{ name: "mine", filter: {} }] };
  asked(STREAM)[0]?.response.destroy();
  await holds(() => client.state === "reconnecting");
  await clock.advance(2_000);
  await settled(2, 3);
  await holds(() => client.isConnected());
  expect(said().slice(2)).toEqual(["GET "]);
});

test("a stream of events that is silent for 40 s is given up", async () => {
  makeClient().subscribeEvents("mine", {}, ignore);
  await settled(1, 2);
  await clock.advance(40_000);
  await holds(() => client.state === "reconnecting");
  expect(client.error?.message).toBe("nothing came for 40000 ms");
});

test("a refused subscription is told, and the stream stays", async () => {
  server.refusals = [undefined, undefined, { status: 409, code: "SUBSCRIPTION_LIMIT", message: "bad: at most 50" }];
  const told: Error[] = [];
  makeClient().onEvent(ignore);
  client.subscribeEvents("bad", {}, ignore, { onError: (error) => told.push(error) });
  await holds(() => told.length > 0);
  expect(told).toMatchObject([{ code: "SUBSCRIPTION_LIMIT", message: "bad: at most 50" }]);
  expect(client.isConnected()).toBe(true);
  expect(asked(STREAM).map(({ gone }) => gone)).toEqual([false]);
});

test("a server that names a time is left alone until then", async () => {
  server.refusals = [undefined, undefined, { status: 429, code: "RATE_LIMITED", headers: { "Retry-After": "2" } }];
  makeClient().subscribeEvents("mine", {}, ignore);
  await settled(1, 2);
  await holds(() => clock.waiting.includes(2_000));
  await clock.advance(2_000);
  await settled(1, 3);
  expect(said()).toEqual(["GET ", "PUT /mine", "PUT /mine"]);
  expect(errors).toEqual([]);
});

test("where a plan has no room for a second stream prices go on, and it is tried again", async () => {
  server.refusals = [undefined, { status: 429, code: "CONNECTION_LIMIT" }, { status: 429, code: "CONNECTION_LIMIT" }];
  makeClient().subscribe("A", ignore);
  client.subscribeEvents("mine", {}, ignore);
  await holds(() => errors.length > 0);
  await clock.advance(1_000);
  await settled(3, 2);
  expect(errors).toEqual(["CONNECTION_LIMIT"]);
  expect(asked("/market-data/stream").map(({ gone }) => gone)).toEqual([false]);
});

test("who may not read events is told so, and keeps the prices", async () => {
  server.refusals = [undefined, { status: 403, code: "NOT_ENTITLED" }, { status: 403, code: "NOT_ENTITLED" }];
  makeClient().subscribe("A", ignore);
  client.subscribeEvents("mine", {}, ignore);
  await holds(() => errors.length > 0);
  expect(errors).toEqual(["NOT_ENTITLED"]);
  expect(client.isConnected()).toBe(true);
  expect(asked(LIST)).toEqual([]);
});

test("a token that is refused fails at once, or is replaced once", async () => {
  const refused = { status: 401, code: "AUTH_FAILED" };
  server.refusals = [refused, refused];
  let count = 0;
  makeClient({ getToken: () => `t${++count}` }).subscribeEvents("mine", {}, ignore);
  await holds(() => client.state === "failed");
  expect(errors).toEqual(["AUTH_FAILED"]);
  expect(count).toBe(2);
});

test("a call that does not get through ends the connection, and is made on the next", async () => {
  let broken = true;
  const flaky: typeof fetch = (url, init) => (broken && String(url).includes(LIST) ? Promise.reject(new Error("cut")) : fetch(url, init));
  makeClient({ transport: sse({ fetch: flaky }) }).subscribeEvents("mine", {}, ignore);
  await holds(() => client.state === "reconnecting");
  expect(client.error).toMatchObject({ code: "UNREACHABLE" });
  broken = false;
  await clock.advance(2_000);
  await settled(2, 2);
  expect(errors).toEqual([]);
});

test("a token that is about to end is asked for once, and both streams go on under the new one", async () => {
  let count = 0;
  makeClient({ getToken: () => `t${++count}` }).subscribe("A", ignore);
  client.subscribeEvents("mine", {}, ignore);
  await settled(1, 2);
  for (const { response } of [...asked("/market-data/stream"), ...asked(STREAM)]) {
    response.write('event: token_expiring\ndata: {"expiresAt":1}\n\n');
  }
  await settled(2, 2);
  await holds(() => asked("/market-data/stream").length === 2);
  const tokens = [...asked("/market-data/stream"), ...asked(STREAM)].map(({ headers }) => headers.authorization);
  expect(tokens).toEqual(["Bearer t1", "Bearer t2", "Bearer t1", "Bearer t2"]);
  expect(client.state).toBe("connected");
});

test("without prices the stream of events tells of the end of the token", async () => {
  let count = 0;
  makeClient({ getToken: () => `t${++count}` }).subscribeEvents("mine", {}, ignore);
  await settled(1, 2);
  asked(STREAM)[0]?.response.write('event: token_expiring\ndata: {"expiresAt":1}\n\n');
  await settled(2, 2);
  asked(STREAM)[1]?.response.write('event: error\ndata: {"code":"TOKEN_EXPIRED","message":"over"}\n\n');
  await holds(() => asked(STREAM).length === 3 && client.isConnected());
  expect(asked(STREAM).map(({ headers }) => headers.authorization)).toEqual(["Bearer t1", "Bearer t2", "Bearer t3"]);
});
