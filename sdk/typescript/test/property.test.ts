import { expect, test } from "vitest";

import { CoreClient } from "../src/client.js";
import { FakeClock, settle } from "./support/clock.js";
import { type Connection, Market, price } from "./support/market.js";
import { seeded } from "./support/seed.js";

const SYMBOLS = ["A", "B", "C", "D"];
const STEPS = 60;

/** What a server that carried out a connection's calls would deliver. */
function watchedOn({ calls }: Connection): Map<string, string> {
  const watched = new Map<string, string>();
  for (const [event, { symbols, mode, maxRate }] of calls) {
    for (const symbol of symbols as string[]) {
      if (event === "subscribe") watched.set(symbol, `${String(mode)} ${String(maxRate)}`);
      else watched.delete(symbol);
    }
  }
  return watched;
}

test.each(Array.from({ length: 150 }, (_, seed) => seed))("whatever happens, seed %i ends as it should", async (seed) => {
  const random = seeded(seed);
  const pick = <T>(all: readonly T[]): T => all[Math.floor(random() * all.length)] as T;
  const clock = new FakeClock();
  const market = new Market();
  const client = new CoreClient({
    url: "http://x",
    token: "t",
    timer: clock.timer,
    random,
    transport: market,
    reconnection: { attempts: 0 },
  });
  const consumers: { symbol: string; got: number[]; leave: () => void; mode: string }[] = [];
  let number = 1;

  const deeds: (() => unknown)[] = [
    () => {
      const [symbol, mode] = [pick(SYMBOLS), pick(["latest", "every"] as const)];
      const got: number[] = [];
      const leave = client.subscribe(symbol, ({ timestamp }) => got.push(timestamp), { mode });
      consumers.push({ symbol, got, leave, mode });
    },
    () => consumers.splice(Math.floor(random() * consumers.length), 1)[0]?.leave(),
    () => market.connections.at(-1)?.send(price(pick(SYMBOLS), number++)),
    () => market.connections.at(-1)?.snapshot(price(pick(SYMBOLS), Math.ceil(random() * number))),
    () => (client.isConnected() ? market.latest.end() : undefined),
    () => (market.connections.length > 0 ? (market.latest.mute = true) : undefined),
    () => market.connections.at(-1)?.speak(),
    () => clock.advance(3_000),
    () => settle(),
  ];
  for (let step = 0; step < STEPS; step += 1) {
    await pick(deeds)();
    for (const { got } of consumers) expect(got).toEqual([...new Set(got)].sort((one, other) => one - other));
  }
  client.subscribe("Z", () => {});
  for (let turn = 0; turn < 3; turn += 1) {
    await clock.advance(40_000);
    market.latest.speak();
  }
  await settle();
  expect(client.state).toBe("connected");

  const wanted = new Map([["Z", "latest 0"]]);
  for (const symbol of SYMBOLS) {
    const modes = consumers.filter((one) => one.symbol === symbol).map(({ mode }) => mode);
    if (modes.length > 0) wanted.set(symbol, `${modes.includes("every") ? "every" : "latest"} 0`);
  }
  expect(watchedOn(market.latest)).toEqual(wanted);
  for (const symbol of wanted.keys()) market.latest.send(price(symbol, 1_000_000));
  expect(consumers.every(({ got }) => got.at(-1) === 1_000_000)).toBe(true);
});
