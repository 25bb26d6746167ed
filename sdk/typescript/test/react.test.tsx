// @vitest-environment happy-dom

import { act, cleanup, render, renderHook } from "@testing-library/react";
import { StrictMode } from "react";
import { renderToString } from "react-dom/server";
import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { CoreClient } from "../src/client.js";
import { useConnectionState, useMarketData, usePrice } from "../src/react.js";
import { FakeClock } from "./support/clock.js";
import { Market, price } from "./support/market.js";

let clock: FakeClock;
let market: Market;
let client: CoreClient;
let frames: Map<number, FrameRequestCallback>;

beforeEach(async () => {
  clock = new FakeClock();
  market = new Market();
  client = new CoreClient({ url: "http://x", token: "t", timer: clock.timer, random: () => 0, transport: market });
  frames = new Map();
  let next = 1;
  vi.stubGlobal("requestAnimationFrame", (task: FrameRequestCallback) => (frames.set(next, task), next++));
  vi.stubGlobal("cancelAnimationFrame", (handle: number) => frames.delete(handle));
  await client.connect();
});

afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

/** Draws one frame. */
function drawFrame(): void {
  const tasks = [...frames.values()];
  frames.clear();
  act(() => tasks.forEach((task) => task(0)));
}

/** Lets promises settle, without drawing. */
async function quiet(): Promise<void> {
  await act(() => clock.advance(0));
}

interface View {
  readonly renders: (string | undefined)[];
  readonly rerender: (symbols: string[]) => void;
  readonly unmount: () => void;
}

/** A component that shows the middles of some symbols, under StrictMode. */
function show(symbols: string[]): View {
  const renders: (string | undefined)[] = [];
  function Table({ symbols: shown }: { symbols: string[] }): string {
    const prices = useMarketData(client, shown);
    const text = [...prices.values()].map((one) => `${one.symbol}=${one.midPrice}`).join(" ");
    renders.push(text);
    return text;
  }
  const tree = (shown: string[]): React.ReactElement => (
    <StrictMode>
      <Table symbols={shown} />
    </StrictMode>
  );
  const { rerender, unmount } = render(tree(symbols));
  return { renders, rerender: (shown) => rerender(tree(shown)), unmount };
}

test("prices are shown in the order of the symbols", async () => {
  const { renders } = show(["b", "A"]);
  await quiet();
  market.latest.snapshot(price("A", 1), price("B", 2));
  drawFrame();
  expect(renders.at(0)).toBe("");
  expect(renders.at(-1)).toBe("B=2 A=1");
});

test("many prices between two frames are one render, with the newest of each", async () => {
  const { renders } = show(["A", "B"]);
  await quiet();
  const before = renders.length;
  for (let number = 1; number <= 50; number += 1) market.latest.send(price("A", number), price("B", number));
  expect(renders).toHaveLength(before);
  drawFrame();
  // StrictMode calls each render twice.
  expect(renders.slice(before)).toEqual(["A=50 B=50", "A=50 B=50"]);
});

test("several components are drawn in the same frame", async () => {
  const commits: string[] = [];
  function Cell({ symbol }: { symbol: string }): string {
    const one = usePrice(client, symbol);
    commits.push(`${symbol}=${one?.midPrice}`);
    return "";
  }
  render(
    <>
      <Cell symbol="A" />
      <Cell symbol="B" />
    </>,
  );
  await quiet();
  commits.length = 0;
  market.latest.send(price("A", 1), price("B", 2), price("A", 3));
  expect(frames.size).toBe(1);
  drawFrame();
  expect(commits).toEqual(["A=3", "B=2"]);
});

test("StrictMode and new arrays of the same symbols make one subscription", async () => {
  const { rerender } = show(["A", "B"]);
  rerender(["a", "B"]);
  await quiet();
  rerender(["A", "B"]);
  await quiet();
  expect(market.latest.calls).toEqual([["subscribe", { symbols: ["A", "B"], mode: "latest", maxRate: 0 }]]);
});

test("other symbols change the subscription and keep what is known on the screen", async () => {
  const { renders, rerender } = show(["A", "B"]);
  await quiet();
  market.latest.send(price("A", 1), price("B", 2));
  drawFrame();
  const before = renders.length;
  rerender(["B", "C"]);
  await quiet();
  market.latest.send(price("C", 3));
  drawFrame();
  expect(new Set(renders.slice(before))).toEqual(new Set(["B=2", "B=2 C=3"]));
  expect(market.latest.calls.slice(1)).toEqual([
    ["unsubscribe", { symbols: ["A"] }],
    ["subscribe", { symbols: ["C"], mode: "latest", maxRate: 0 }],
  ]);
});

test("a component that goes away silences no other, and draws no more", async () => {
  const first = show(["A"]);
  const second = show(["A"]);
  await quiet();
  market.latest.send(price("A", 1));
  first.unmount();
  const before = first.renders.length;
  drawFrame();
  expect(first.renders).toHaveLength(before);
  expect(second.renders.at(-1)).toBe("A=1");
  second.unmount();
  await quiet();
  expect(market.latest.calls.at(-1)).toEqual(["unsubscribe", { symbols: ["A"] }]);
  market.latest.send(price("A", 2));
  expect(frames.size).toBe(0);
});

test("a component that comes later shows what is known in its first render", async () => {
  show(["A"]);
  await quiet();
  market.latest.send(price("A", 1));
  const { renders } = show(["A"]);
  expect(renders[0]).toBe("A=1");
  await quiet();
});

test("no symbols are no subscription", async () => {
  const { renders } = show([]);
  await quiet();
  expect(renders.at(-1)).toBe("");
  expect(market.latest.calls).toEqual([]);
});

test("a symbol that is none fails the render", () => {
  vi.spyOn(console, "error").mockImplementation(() => {});
  expect(() => renderHook(() => usePrice(client, "no such"))).toThrow("is not a symbol");
});

test("one price and the connection's state follow the client over a reconnect", async () => {
  const one = renderHook(() => usePrice(client, "a"));
  const state = renderHook(() => useConnectionState(client));
  await quiet();
  expect([one.result.current, state.result.current]).toEqual([undefined, "connected"]);
  market.latest.send(price("A", 1));
  drawFrame();
  market.latest.end();
  await quiet();
  expect([one.result.current?.midPrice, state.result.current]).toEqual([1, "reconnecting"]);
  await act(() => clock.advance(2_000));
  market.latest.snapshot(price("A", 2));
  drawFrame();
  expect([one.result.current?.midPrice, state.result.current]).toEqual([2, "connected"]);
});

test("mode and rate of a hook are those of its subscription", async () => {
  renderHook(() => useMarketData(client, ["A"], { mode: "every", maxRate: 5 }));
  await quiet();
  expect(market.latest.calls).toEqual([["subscribe", { symbols: ["A"], mode: "every", maxRate: 5 }]]);
});

test("on a server everything is empty and nothing is subscribed to", async () => {
  function Page(): string {
    return `${useConnectionState(client)} ${useMarketData(client, ["A"]).size}`;
  }
  expect(renderToString(<Page />)).toBe("connected 0");
  await quiet();
  expect(market.latest.calls).toEqual([]);
});
