import { expect, test } from "vitest";

import { Meter } from "../src/meter.js";

const stamped = (symbol: string, timestamp: number) => ({ symbol, timestamp });

test("the rate is updates by the time that passed", () => {
  const meter = new Meter(0);
  for (let each = 0; each < 30; each += 1) meter.arrived();
  expect(meter.read(1_500).rate).toBe(20);
  expect(meter.read(2_500).rate).toBe(0);
});

test("the first price of a symbol on a connection is a stored one and has no latency", () => {
  const meter = new Meter(0);
  meter.painted([stamped("A", 0)], 1_000_000);
  expect(meter.read(1_000).latency).toBeUndefined();
  meter.painted([stamped("A", 1_000_000)], 1_000_020);
  expect(meter.read(2_000).latency).toBe(20);
  meter.restart();
  meter.painted([stamped("A", 0)], 2_000_000);
  expect(meter.read(3_000).latency).toBe(20);
});

test("the latency is smoothed and never below zero", () => {
  const meter = new Meter(0);
  meter.painted([stamped("A", 0)], 0);
  meter.painted([stamped("A", 0)], 100);
  expect(meter.read(1).latency).toBe(100);
  meter.painted([stamped("A", 0)], 200);
  expect(meter.read(2).latency).toBeCloseTo(130);
  for (let second = 3; second < 60; second += 1) {
    meter.painted([stamped("A", 50)], 0);
    meter.read(second);
  }
  expect(meter.read(60).latency).toBeGreaterThanOrEqual(0);
});
