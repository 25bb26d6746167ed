import { expect, test } from "vitest";

import { decimalsOf, duration, fixed, latency, NONE, padded, percent, size } from "../src/format.js";

test("a number has the decimals it was asked to have, and a minus that is one", () => {
  expect(fixed(1234.5, 2)).toBe("1,234.50");
  expect(fixed(-0.00005, 5)).toBe("−0.00005");
  expect(fixed(null, 2)).toBe(NONE);
});

test("a change carries its sign, and zero carries none", () => {
  expect([0.041, -0.12, 0.001, -0.001, 0].map(percent)).toEqual(["+0.04 %", "−0.12 %", "0.00 %", "0.00 %", "0.00 %"]);
  expect(percent(undefined)).toBe("");
});

test("decimals are those a number is printed with, also a very small one, 8 at most", () => {
  expect([1.0845, 64_000, 1e-7, 1.5e-7, 1e-12, 1e21, null].map(decimalsOf)).toEqual([4, 0, 7, 8, 8, 0, 0]);
});

test("a padded text keeps its length as it grows", () => {
  expect(padded("9.99", 5)).toHaveLength(padded("10.00", 5).length);
  expect(padded("123456", 5)).toBe("123456");
});

test("sizes are short", () => {
  expect([1_500_000, 700, 0.4, null].map(size)).toEqual(["1.5M", "700", "0.4", ""]);
});

test("a time span is told in the largest unit that fits", () => {
  const seconds = [-1, 0, 59.9, 60, 3_599, 3_600, 86_399, 86_400 * 12];
  expect(seconds.map((each) => duration(each * 1000))).toEqual(["0 s", "0 s", "59 s", "1 min", "59 min", "1 h", "23 h", "12 d"]);
});

test("a latency of delayed prices is told in seconds", () => {
  expect([undefined, 0.4, 12.6, 9_999, 900_000].map(latency)).toEqual([NONE, "< 1 ms", "13 ms", "9999 ms", "15 min"]);
});
