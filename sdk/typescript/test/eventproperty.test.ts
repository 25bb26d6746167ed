import { expect, test, vi } from "vitest";

import { CoreClient } from "../src/client.js";
import { reconcileEvents, sameFilter } from "../src/core/eventreconcile.js";
import type { EventFilter } from "../src/core/model.js";
import { FakeClock, settle } from "./support/clock.js";
import { Market, marketEvent } from "./support/market.js";
import { seeded } from "./support/seed.js";

const NAMES = ["a", "b", "c"];
const FILTERS: EventFilter[] = [{}, { types: ["x"] }, { types: ["x", "y"], minPriority: "HIGH" }, { symbols: ["a", "B"] }];
const THEIRS = "theirs";
const STEPS = 50;

test.each(Array.from({ length: 100 }, (_, seed) => seed))("whatever happens to events, seed %i ends as it should", async (seed) => {
  const random = seeded(seed);
  const pick = <T>(all: readonly T[]): T => all[Math.floor(random() * all.length)] as T;
  const clock = new FakeClock();
  const market = new Market();
  const client = new CoreClient({ url: "http://x", token: "t", timer: clock.timer, random, transport: market, reconnection: { attempts: 0 } });
  const consumers: { name: string; filter: EventFilter; got: string[]; leave: () => void }[] = [];
  let number = 0;
  let failures = 0;
  market.answer = () => (failures-- > 0 ? { error: "not now", code: pick(["UNAVAILABLE", "RATE_LIMITED"]), retryAfterMs: 0 } : undefined);
  market.held.set(THEIRS, {});
  // Has event streams loaded, which takes longer than a turn.
  client.onEventsDropped(() => {});
  await vi.dynamicImportSettled();
  await settle();

  const deeds: (() => unknown)[] = [
    () => {
      const name = pick(NAMES);
      const filter = consumers.find((one) => one.name === name)?.filter ?? pick(FILTERS);
      const got: string[] = [];
      consumers.push({ name, filter, got, leave: client.subscribeEvents(name, filter, ({ id }) => got.push(id)) });
    },
    () => consumers.splice(Math.floor(random() * consumers.length), 1)[0]?.leave(),
    () => market.connections.at(-1)?.event("events", { events: [marketEvent(`n${Math.floor(random() * number++)}`, [pick(NAMES), pick(NAMES)])] }),
    () => (client.isConnected() ? market.latest.end() : undefined),
    () => market.held.delete(pick(NAMES)) && client.isConnected() && market.latest.end(),
    () => (market.connections.length > 0 ? (market.latest.mute = true) : undefined),
    () => market.connections.at(-1)?.speak(),
    () => (failures = 3),
    () => clock.advance(3_000),
    () => settle(),
  ];
  for (let step = 0; step < STEPS; step += 1) await pick(deeds)();

  failures = 0;
  consumers.push({ name: "last", filter: {}, got: [], leave: client.subscribeEvents("last", {}, () => {}) });
  for (let round = 0; round < 5; round += 1) {
    market.connections.at(-1)?.speak();
    await clock.advance(60_000);
  }
  await settle();

  const wanted = new Map(consumers.map(({ name, filter }) => [name, filter]));
  expect(new Set(market.held.keys())).toEqual(new Set([THEIRS, ...wanted.keys()]));
  for (const [name, filter] of wanted) expect(sameFilter(filter, market.held.get(name))).toBe(true);
  for (const { got } of consumers) expect(got).toEqual([...new Set(got)]);
  client.disconnect();
});

test.each(Array.from({ length: 50 }, (_, seed) => seed))("calls lead to what is wanted and are not repeated, seed %i", (seed) => {
  const random = seeded(seed);
  const some = (): Map<string, EventFilter> => {
    const names = NAMES.filter(() => random() < 0.6);
    return new Map(names.map((name) => [name, FILTERS[Math.floor(random() * FILTERS.length)] ?? {}]));
  };
  const [wanted, held] = [some(), some()];
  const left = NAMES.filter(() => random() < 0.5);
  for (const [event, payload] of reconcileEvents(wanted, held, left)) {
    if (event === "subscribe_events") held.set(payload.name, payload.filter);
    else held.delete(payload.name);
  }
  expect(reconcileEvents(wanted, held)).toEqual([]);
  expect(left.filter((name) => held.has(name) && !wanted.has(name))).toEqual([]);
});
