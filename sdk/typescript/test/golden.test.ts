import { expect, test } from "vitest";

import { isNews } from "../src/core/delivery.js";
import { parseAck, parseError, parseFailure, parseLagged, parsePrices, parseStatus, parseUpdate } from "../src/core/message.js";
import { EventStreamParser } from "../src/core/eventstream.js";
import { parseEvents, parseHeld } from "../src/core/eventmessage.js";
import { reconcileEvents } from "../src/core/eventreconcile.js";
import type { BestPrice, EventFilter, Want } from "../src/core/model.js";
import { reconcile } from "../src/core/reconcile.js";
import { golden, goldenJson, goldenPacket } from "./support/golden.js";

interface ReconcileCase {
  readonly rule: string;
  readonly wanted: Record<string, Want>;
  readonly confirmed: Record<string, Want>;
  readonly part?: number;
  readonly calls: unknown[];
}

interface EventCase {
  readonly rule: string;
  readonly wanted: Record<string, EventFilter>;
  readonly held: { readonly name: string; readonly filter: EventFilter }[];
  readonly left?: string[];
  readonly calls: unknown[];
}

interface DeliveryCase {
  readonly rule: string;
  readonly arrives: (BestPrice | "reconnected")[];
  readonly delivered: number[];
}

test.each(goldenJson<ReconcileCase[]>("sdk/reconcile.json"))("reconcile: $rule", ({ wanted, confirmed, part, calls }) => {
  expect(reconcile(new Map(Object.entries(wanted)), new Map(Object.entries(confirmed)), part)).toEqual(calls);
});

test.each(goldenJson<EventCase[]>("sdk/event_reconcile.json"))("events: $rule", ({ wanted, held, left, calls }) => {
  const known = new Map(held.map(({ name, filter }) => [name, filter]));
  expect(reconcileEvents(new Map(Object.entries(wanted)), known, left)).toEqual(calls);
});

test.each(goldenJson<DeliveryCase[]>("sdk/delivery.json"))("delivery: $rule", ({ arrives, delivered }) => {
  const last = new Map<string, BestPrice>();
  const prices = arrives.filter((one) => one !== "reconnected");
  const got = prices.flatMap((price, index) => {
    if (!isNews(price, last.get(price.symbol))) return [];
    last.set(price.symbol, price);
    return [index];
  });
  expect(got).toEqual(delivered);
});

test("prices and snapshots are read as they come over Socket.IO", () => {
  const [name, payload] = goldenPacket("price");
  const [both] = parsePrices(payload);
  expect(name).toBe("price");
  expect(both).toMatchObject({ symbol: "EUR/USD", midPrice: 1.3864, bestAsk: { price: 1.3865, size: null, source: "lmax" } });
  const [oneSided] = parsePrices(goldenPacket("price_one_sided")[1]);
  expect(oneSided).toMatchObject({ symbol: "AAPL", bestAsk: null, midPrice: null });
  expect(parsePrices(goldenPacket("snapshot")[1])).toEqual([both, oneSided]);
});

test("other events are read as they come over Socket.IO", () => {
  expect(parseStatus(goldenPacket("status")[1])).toEqual({ symbol: "AAPL", state: "stale", source: "iex", since: 1700000000000 });
  expect(parseLagged(goldenPacket("lagged")[1])).toEqual({ symbol: "EUR/USD", missed: 37 });
  expect(parseError(goldenPacket("error")[1], "")).toEqual({ code: "TOKEN_EXPIRED", message: "the token has expired" });
  const channels = ["market_update", "sector_update", "sentiment_update"].map((name) => parseUpdate(goldenPacket(name)[1])?.channel);
  expect(channels).toEqual(["indices", "sectors", "sentiment"]);
});

test("answers are read as they come over Socket.IO", () => {
  const { taken, refused, failure } = parseAck(goldenPacket("subscribe_ack")[0]);
  expect([...taken]).toEqual(["EUR/USD", "AAPL", "indices"]);
  expect([...refused]).toEqual([["no symbol", "invalid symbol"], ["MSFT", "max subscriptions reached"]]);
  expect(failure).toBeUndefined();
  expect(parseFailure(goldenPacket("rate_limited_ack")[0])).toEqual({
    code: "RATE_LIMITED",
    message: "Rate limit exceeded",
    retryAfterMs: 1000,
  });
  expect(parseFailure(goldenPacket("invalid_message_ack")[0])?.code).toBe("INVALID_MESSAGE");
  expect(parseFailure(goldenPacket("quote_ack")[0])).toBeUndefined();
});

const STREAM = ["retry", "price", "comment", "subscribed", "price_one_sided", "lagged", "token_expiring", "error"];

test.each(["\n", "\r\n", "\r"])("a stream is read the same wherever it is cut, with lines that end in %j", (end) => {
  const text = STREAM.map((name) => golden(`sse/${name}.txt`)).join("").replaceAll("\n", end);
  const whole = new EventStreamParser().push(text + end);
  expect(whole.map(({ name, id }) => [name, id])).toEqual([
    ["price", "EUR/USD-1700000000000@1700000000000000"],
    ["subscribed", undefined],
    ["price", "AAPL-1700000000000@1700000000000001"],
    ["lagged", undefined],
    ["token_expiring", undefined],
    ["error", undefined],
  ]);
  expect(parsePrices(JSON.parse(whole[0]?.data ?? ""))).toEqual(parsePrices(goldenPacket("price")[1]));
  expect([...parseAck(JSON.parse(whole[1]?.data ?? "")).refused]).toEqual([["!", "invalid symbol"]]);
  for (let at = 1; at < text.length; at += 1) {
    const parser = new EventStreamParser();
    expect([...parser.push(text.slice(0, at)), ...parser.push(text.slice(at) + end)]).toEqual(whole);
  }
});

test("what makes no sense is left out and breaks nothing", () => {
  for (const odd of [undefined, null, 7, "x", [], {}, { prices: [null, 1, {}] }, { symbol: 1, timestamp: "x" }]) {
    expect(parsePrices(odd)).toEqual([]);
    expect(parseStatus(odd)).toBeUndefined();
    expect(parseLagged(odd)).toBeUndefined();
    expect(parseUpdate(odd)).toBeUndefined();
    expect(parseFailure(odd)).toBeUndefined();
    expect(parseAck(odd)).toEqual({ taken: new Set(), refused: new Map() });
    expect(parseEvents(odd)).toEqual({ events: [], dropped: 0 });
    expect(parseEvents({ events: [odd], dropped: odd === 7 ? "7" : odd }).events).toEqual([]);
    expect(parseHeld(odd)).toEqual(new Map());
  }
});

test("a stream's data may hold what other texts end lines with", () => {
  const [event] = new EventStreamParser().push("data: one\u2028two\u0085\n\n");
  expect(event?.data).toBe("one\u2028two\u0085");
});

test("a stream's data may have several lines, and events without any are none", () => {
  const parser = new EventStreamParser();
  expect(parser.push("\uFEFFevent: none\n\ndata: one\ndata:two\n\n")).toEqual([{ name: "message", data: "one\ntwo", id: undefined }]);
});
