import { expect, test } from "vitest";

import { History, SPAN_MS } from "../src/history.js";

test("the last price of each half second is kept, and the line goes on until now", () => {
  const history = new History();
  for (const [now, mid] of [[1_000, 1], [1_100, 2], [1_600, 3], [1_900, 4]] as const) history.take(now, mid);
  expect(history.points(2_500)).toEqual([[1_000, 1_100, 1_600, 2_500], [1, 2, 4, 4]]);
});

test("its size is bounded by the span, not by the rate", () => {
  const history = new History();
  for (let now = 0; now < 10 * SPAN_MS; now += 50) history.take(now, now);
  const [at] = history.points(10 * SPAN_MS);
  expect(at.length).toBeLessThanOrEqual(SPAN_MS / 500 + 3);
});

test("a quiet symbol has a line through the whole span", () => {
  const history = new History();
  history.take(0, 7);
  expect(history.points(3 * SPAN_MS)).toEqual([[2 * SPAN_MS, 3 * SPAN_MS], [7, 7]]);
});

test("a lost connection is a gap until the next price", () => {
  const history = new History();
  history.take(1_000, 1);
  history.cut(5_000);
  history.cut(6_000);
  expect(history.points(9_000)).toEqual([[1_000, 5_000], [1, null]]);
  history.take(10_000, 2);
  expect(history.points(10_000)[1]).toEqual([1, null, 2]);
});

test("the change is from the first to the last price of the span, in percent", () => {
  const history = new History();
  expect(history.change).toBeUndefined();
  history.take(0, 200);
  expect(history.change).toBe(0);
  history.take(1_000, 210);
  expect(history.change).toBe(5);
  history.cut(2_000);
  expect(history.change).toBe(5);
});

test("prices below zero rise when they come closer to it", () => {
  const history = new History();
  history.take(0, -10);
  history.take(1_000, -9);
  expect(history.change).toBe(10);
});
