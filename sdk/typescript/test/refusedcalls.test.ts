import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

import { MarketDataClient, socketio, type Transport } from "../src/index.js";
import { sse } from "../src/sse.js";
import { EngineServer, type Made } from "./support/engine.js";
import { goldenJson } from "./support/golden.js";
import { price } from "./support/market.js";
import { StreamServer } from "./support/streams.js";

interface Case {
  readonly rule: string;
  readonly call: "subscribe" | "get_quote" | "subscribe_events";
  /** `refused`, `again`, or the code of the error. */
  readonly outcome: string;
  readonly socketio?: unknown;
  readonly sse?: { readonly status: number; readonly code: string; readonly message?: string };
}

const CASES = goldenJson<Case[]>("sdk/refused_calls.json");
const ACK_TIMEOUT_MS = 300;

let client: MarketDataClient;
let states: string[];
let heard: number[];
let failures: Error[];

beforeEach(() => {
  states = [];
  heard = [];
  failures = [];
});

function makeClient(url: string, transport: Transport): void {
  client = new MarketDataClient({ url, token: "t", random: () => 0, transport });
  client.onState((state) => states.push(state));
  client.subscribe("A", ({ timestamp }) => heard.push(timestamp));
}

function holds(check: () => unknown): Promise<void> {
  return vi.waitFor(() => expect(check()).toBeTruthy(), { timeout: 5_000, interval: 5 });
}

/** Makes the call that is refused; resolves with the code of what becomes of it, where it does not succeed. */
async function make({ call }: Case): Promise<void> {
  const onError = (error: Error): void => void failures.push(error);
  if (call === "subscribe") client.subscribe("B", () => {}, { onError });
  else if (call === "subscribe_events") client.subscribeEvents("mine", { types: ["pattern"] }, () => {}, { onError });
  else await client.getQuote("B").catch(onError);
}

/** Checks what became of it: it failed by itself, or nobody was told anything. */
async function becomes(outcome: string): Promise<void> {
  if (outcome === "again") return expect(failures).toEqual([]);
  await holds(() => failures.length > 0);
  expect((failures[0] as Error & { code: string }).code).toBe(outcome === "refused" ? "SUBSCRIPTION_REFUSED" : outcome);
}

/** Checks that the connection is the one that there was, and that prices flow over it. */
async function goesOn(send: (number: number) => void): Promise<void> {
  const number = (heard.at(-1) ?? 0) + 1;
  send(number);
  await holds(() => heard.includes(number));
  expect(states).toEqual(["connecting", "connected"]);
}

describe("over Socket.IO", () => {
  let server: EngineServer;

  beforeEach(async () => {
    server = new EngineServer();
    await server.start();
  });

  afterEach(async () => {
    client.disconnect();
    await server.stop();
  });

  async function nextCall(name: string): Promise<Made> {
    await holds(() => server.calls.some((call) => call.name === name));
    const at = server.calls.findIndex((call) => call.name === name);
    return server.calls.splice(at, 1)[0] as Made;
  }

  const send = (number: number): void => server.send(`42/market-data,["price",${JSON.stringify(price("A", number))}]`);

  test.each(CASES.filter((one) => "socketio" in one))("$rule", async (one) => {
    makeClient(server.url, socketio({ ackTimeoutMs: ACK_TIMEOUT_MS }));
    server.answer(await nextCall("subscribe"), { subscribed: ["A"] });
    await goesOn(send);
    const made = make(one);
    if (one.call === "subscribe_events") server.answer(await nextCall("event_subscriptions"), { subscriptions: [] });
    const refused = await nextCall(one.call);
    if (one.socketio !== "silence") server.answer(refused, one.socketio);
    if (one.outcome === "again") {
      await goesOn(send);
      server.answer(await nextCall(one.call), { subscribed: one.call === "subscribe" ? ["B"] : "mine" });
    }
    await made;
    await becomes(one.outcome);
    await goesOn(send);
  });
});

describe("over server-sent events", () => {
  let server: StreamServer;

  beforeEach(async () => {
    server = new StreamServer();
    server.body = { subscriptions: [] };
    await server.start();
  });

  afterEach(async () => {
    client.disconnect();
    await server.stop();
  });

  const send = (number: number): void => {
    for (const { path, response, gone } of server.opened) {
      if (path !== "/market-data/stream" || gone) continue;
      response.write(`event: price\nid: A-${number}@${number}\ndata: ${JSON.stringify(price("A", number))}\n\n`);
    }
  };

  test.each(CASES.filter((one) => "sse" in one))("$rule", async (one) => {
    makeClient(server.url, sse());
    await holds(() => client.isConnected());
    await goesOn(send);
    const before = server.opened.length;
    // Events are listened to first, then asked for, then subscribed to.
    server.refusals = one.call === "subscribe_events" ? [undefined, undefined, one.sse] : [one.sse];
    const requests = before + server.refusals.length;
    await make(one);
    await holds(() => server.opened.length >= requests);
    if (one.outcome === "again") await holds(() => server.opened.length > requests);
    await becomes(one.outcome);
    await goesOn(send);
  });
});
