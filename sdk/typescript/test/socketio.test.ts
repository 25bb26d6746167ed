import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { MarketDataClient, type MarketDataClientOptions } from "../src/index.js";
import { FakeClock } from "./support/clock.js";
import { EngineServer, type Made } from "./support/engine.js";
import { golden, goldenPacket } from "./support/golden.js";
import { marketEvent } from "./support/market.js";

let clock: FakeClock;
let server: EngineServer;
let client: MarketDataClient;

beforeEach(async () => {
  clock = new FakeClock();
  server = new EngineServer();
  await server.start();
});

afterEach(async () => {
  client.disconnect();
  await server.stop();
});

function makeClient(options: Partial<MarketDataClientOptions> = {}): MarketDataClient {
  client = new MarketDataClient({ url: server.url, token: "t", timer: clock.timer, random: () => 0, ...options });
  return client;
}

function holds(check: () => unknown): Promise<void> {
  return vi.waitFor(() => expect(check()).toBeTruthy(), { timeout: 5_000, interval: 5 });
}

/** Waits for the next call and returns it. */
async function nextCall(name: string): Promise<Made> {
  await holds(() => server.calls.some((call) => call.name === name));
  const at = server.calls.findIndex((call) => call.name === name);
  return server.calls.splice(at, 1)[0] as Made;
}

const ignore = (): void => {};

test("the token goes into the handshake and nowhere else", async () => {
  await makeClient().connect();
  expect(server.handshakes).toEqual(['{"token":"t"}']);
});

test("frozen messages of a server reach the callbacks", async () => {
  const got: unknown[] = [];
  const refused: string[] = [];
  makeClient().subscribe(["EUR/USD", "AAPL", "MSFT"], (price) => got.push(price));
  client.onError((error) => refused.push(error.message));
  client.onStatus((status) => got.push(status));
  client.onLagged((lagged) => got.push(lagged));
  const call = await nextCall("subscribe");
  expect(call.payload).toEqual({ symbols: ["EUR/USD", "AAPL", "MSFT"], mode: "latest", maxRate: 0 });
  server.answer(call, goldenPacket("subscribe_ack")[0]);
  for (const name of ["snapshot", "price", "price_one_sided", "status", "lagged", "heartbeat"]) {
    server.send(golden(`socketio/${name}.txt`));
  }
  await holds(() => got.length === 4);
  const { prices } = goldenPacket("snapshot")[1] as { prices: unknown[] };
  expect(got).toEqual([...prices, goldenPacket("status")[1], goldenPacket("lagged")[1]]);
  expect(refused).toEqual(["MSFT: max subscriptions reached"]);
});

test("a refused handshake says why", async () => {
  server.refusal = "connect_error";
  await expect(makeClient().connect()).rejects.toMatchObject({
    name: "AuthenticationError",
    code: "AUTH_FAILED",
    message: "the token is not good",
  });
});

test("an answer that does not come in ten seconds makes the connection lost", async () => {
  makeClient().subscribe("A", ignore);
  await nextCall("subscribe");
  await clock.advance(9_999);
  expect(client.isConnected()).toBe(true);
  await clock.advance(1);
  await holds(() => client.state === "reconnecting");
  expect(client.error).toMatchObject({ code: "TIMEOUT" });
});

test("a server that does not admit in ten seconds counts as unreachable", async () => {
  server.refusal = "heartbeat";
  void makeClient().connect();
  await holds(() => server.handshakes.length === 1);
  await clock.advance(10_000);
  await holds(() => client.error);
  expect(client.error).toMatchObject({ code: "TIMEOUT" });
});

test("closing while connecting leaves nothing that waits", async () => {
  server.refusal = "heartbeat";
  const connected = makeClient().connect();
  await holds(() => server.handshakes.length === 1);
  client.disconnect();
  await expect(connected).rejects.toMatchObject({ code: "CLOSED" });
  expect(clock.waiting).toEqual([]);
});

test("the end of a token is the end of the connection, which is made again under another", async () => {
  let count = 0;
  await makeClient({ getToken: () => `t${++count}` }).connect();
  server.send(golden("socketio/error.txt"));
  await holds(() => server.handshakes.length === 2 && client.isConnected());
  expect(server.handshakes[1]).toBe('{"token":"t2"}');
});

test("a token that is about to end is replaced, and what the new one lacks is asked for again", async () => {
  let count = 0;
  const refused: string[] = [];
  makeClient({ getToken: () => `t${++count}` }).subscribe(["EUR/USD", "MSFT"], ignore);
  client.onError((error) => refused.push(error.message));
  server.answer(await nextCall("subscribe"), { subscribed: ["EUR/USD", "MSFT"] });
  server.send(golden("socketio/token_expiring.txt"));
  const call = await nextCall("authenticate");
  expect(call.payload).toEqual({ token: "t2" });
  server.answer(call, goldenPacket("authenticate_ack")[0]);
  server.answer(await nextCall("subscriptions"), goldenPacket("subscriptions_ack")[0]);
  const again = await nextCall("subscribe");
  expect(again.payload["symbols"]).toEqual(["MSFT"]);
  server.answer(again, { subscribed: [], errors: ["MSFT: not entitled"] });
  await holds(() => refused.length > 0);
  expect(refused).toEqual(["MSFT: not entitled"]);
  expect(server.handshakes).toHaveLength(1);
});

test("a quote is asked for by a call, and one that there is not says why", async () => {
  const quote = makeClient().getQuote("eur/usd");
  const call = await nextCall("get_quote");
  expect(call.payload).toEqual({ symbol: "EUR/USD" });
  server.answer(call, goldenPacket("quote_ack")[0]);
  await expect(quote).resolves.toEqual(goldenPacket("quote_ack")[0]);
  const none = client.getQuote("NOPE");
  server.answer(await nextCall("get_quote"), { error: "no price is known", code: "UNKNOWN_SYMBOL" });
  await expect(none).rejects.toMatchObject({ name: "RequestError", code: "UNKNOWN_SYMBOL" });
});

test("a call whose connection breaks is rejected", async () => {
  const quote = makeClient().getQuote("A");
  await nextCall("get_quote");
  server.cut();
  await expect(quote).rejects.toMatchObject({ code: "LOST" });
  await holds(() => client.state === "reconnecting");
  await clock.advance(2_000);
  await holds(() => client.isConnected());
});

test("who is sent away by the application stays away", async () => {
  await makeClient().connect();
  server.send(golden("socketio/disconnect.txt"));
  await holds(() => client.state === "failed");
  expect(client.error).toMatchObject({ code: "DISCONNECTED" });
});

test("channels are asked for and heard", async () => {
  const got: unknown[] = [];
  makeClient().subscribeChannels(["indices", "sectors"], (update) => got.push(update));
  const call = await nextCall("subscribe");
  expect(call.payload).toEqual({ symbols: [], channels: ["indices", "sectors"] });
  server.answer(call, { subscribed: [], channels: ["indices", "sectors"] });
  for (const name of ["market_update", "sector_update", "sentiment_update"]) server.send(golden(`socketio/${name}.txt`));
  await holds(() => got.length === 2);
  expect(got).toEqual([goldenPacket("market_update")[1], goldenPacket("sector_update")[1]]);
});

test("events are asked for by calls and heard", async () => {
  const got: unknown[] = [];
  const leave = makeClient().subscribeEvents("mine", { types: ["pattern"] }, ({ id }) => got.push(id));
  client.onEventsDropped((count) => got.push(count));
  server.answer(await nextCall("event_subscriptions"), { subscriptions: [] });
  const call = await nextCall("subscribe_events");
  expect(call.payload).toEqual({ name: "mine", filter: { types: ["pattern"] } });
  server.answer(call, { subscribed: "mine", filter: { types: ["pattern"] } });
  server.send(`42/market-data,["events",${JSON.stringify({ events: [marketEvent("a", ["mine"])], dropped: 2 })}]`);
  await holds(() => got.length === 2);
  expect(got).toEqual(["a", 2]);
  leave();
  expect((await nextCall("unsubscribe_events")).payload).toEqual({ name: "mine" });
});
