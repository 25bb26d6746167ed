import { expect, test } from "vitest";

import { describe, EventLog, LIMIT } from "../src/log.js";

test("the log is bounded and keeps the newest", () => {
  const log = new EventLog();
  for (let at = 0; at < LIMIT + 50; at += 1) log.add(at, "note", String(at));
  expect(log.entries).toHaveLength(LIMIT);
  expect(log.entries.at(-1)?.text).toBe(String(LIMIT + 49));
});

test("the same event of many symbols at once is one entry", () => {
  const log = new EventLog();
  for (const name of ["A", "B", "C", "D", "E", "F", "A"]) log.add(10, "status", "stale", name);
  expect(log.entries.map(describe)).toEqual(["A, B, C, D and 2 more: stale"]);
});

test("another event, another kind, or another time is another entry", () => {
  const log = new EventLog();
  log.add(0, "status", "stale", "A");
  log.add(1, "status", "live", "A");
  log.add(2, "error", "live", "A");
  log.add(1_500, "error", "live", "B");
  log.add(1_501, "state", "connected");
  log.add(1_502, "state", "connected");
  expect(log.entries.map(describe)).toEqual(["A: stale", "A: live", "A: live", "B: live", "connected", "connected"]);
});

test("a cleared log is empty", () => {
  const log = new EventLog();
  log.add(0, "note", "x");
  log.clear();
  expect(log.entries).toEqual([]);
});
