import { describe, expect, test } from "vitest";

import { AuthenticationError, ConnectionFailedError, MarketDataError, TransportError } from "../src/core/errors.js";
import { DEFAULT_PLAN, Retry, retryDelay } from "../src/core/retry.js";

const LOST = new TransportError("LOST", "gone");
const REFUSED = new TransportError("AUTH_FAILED", "the token is not good");
const EXPIRED = new TransportError("TOKEN_EXPIRED", "the token is over");

function delays(retry: Retry, count: number): unknown[] {
  return Array.from({ length: count }, () => retry.next(LOST));
}

describe("the schedule", () => {
  test("delays double from two seconds to 32 and stay there", () => {
    const all = [1, 2, 3, 4, 5, 6, 7].map((attempt) => retryDelay(DEFAULT_PLAN, attempt, 0));
    expect(all).toEqual([2_000, 4_000, 8_000, 16_000, 32_000, 32_000, 32_000]);
  });

  test("a tenth more at most is added at random", () => {
    expect(retryDelay(DEFAULT_PLAN, 1, 0.5)).toBe(2_100);
    expect(retryDelay(DEFAULT_PLAN, 5, 1)).toBeCloseTo(35_200);
  });

  test("after five attempts it is given up, with the last cause", () => {
    const retry = new Retry(DEFAULT_PLAN, false, () => 0);
    expect(delays(retry, 5)).toEqual([2_000, 4_000, 8_000, 16_000, 32_000]);
    const error = retry.next(LOST);
    expect(error).toBeInstanceOf(ConnectionFailedError);
    expect(error).toMatchObject({ attempts: 5, cause: LOST });
  });

  test("no limit means for ever", () => {
    const retry = new Retry({ ...DEFAULT_PLAN, attempts: 0 }, false, () => 0);
    expect(delays(retry, 50).slice(-2)).toEqual([32_000, 32_000]);
  });

  test("without reconnecting the first failure is the last", () => {
    expect(new Retry(undefined, false, () => 0).next(LOST)).toMatchObject({ attempts: 0, cause: LOST });
  });

  test("only a healthy connection makes the count begin anew", () => {
    const retry = new Retry(DEFAULT_PLAN, false, () => 0);
    delays(retry, 3);
    retry.admitted();
    expect(retry.next(LOST)).toBe(16_000);
    retry.healthy();
    expect(retry.next(LOST)).toBe(2_000);
  });

  test("a server that names a time is left alone until then", () => {
    const retry = new Retry(DEFAULT_PLAN, false, () => 0);
    expect(retry.next(new TransportError("CONNECTION_LIMIT", "full", 7_000))).toBe(7_000);
    expect(retry.next(new TransportError("CONNECTION_LIMIT", "full", 1_000))).toBe(4_000);
  });
});

describe("refusals", () => {
  test.each(["UNAUTHORIZED", "AUTH_FAILED", "TOKEN_EXPIRED"])("%s ends it for a token that never changes", (code) => {
    const error = new Retry(DEFAULT_PLAN, false, () => 0).next(new TransportError(code, "no"));
    expect(error).toBeInstanceOf(AuthenticationError);
    expect(error).toMatchObject({ code, message: "no" });
  });

  test("a refused token is replaced at once, and a second refusal in a row is the end", () => {
    const retry = new Retry(DEFAULT_PLAN, true, () => 0);
    expect(retry.next(REFUSED)).toBe(0);
    expect(retry.next(REFUSED)).toBeInstanceOf(AuthenticationError);
  });

  test("refusals with another failure between them are not in a row", () => {
    const retry = new Retry(DEFAULT_PLAN, true, () => 0);
    expect([retry.next(REFUSED), retry.next(LOST), retry.next(REFUSED)]).toEqual([0, 2_000, 0]);
  });

  test("refusals with an admission between them are not in a row", () => {
    const retry = new Retry(DEFAULT_PLAN, true, () => 0);
    expect(retry.next(REFUSED)).toBe(0);
    retry.admitted();
    expect(retry.next(REFUSED)).toBe(0);
  });

  test("a token that ended is replaced at once; one that ends again and again counts as a failure", () => {
    const retry = new Retry(DEFAULT_PLAN, true, () => 0);
    expect([retry.next(EXPIRED), retry.next(EXPIRED), retry.next(EXPIRED)]).toEqual([0, 2_000, 4_000]);
    retry.healthy();
    expect(retry.next(EXPIRED)).toBe(0);
  });

  test("a token function that fails counts as a failed attempt", () => {
    expect(new Retry(DEFAULT_PLAN, true, () => 0).next("no network")).toBe(2_000);
  });

  test("who was sent away by the application stays away", () => {
    const error = new Retry(DEFAULT_PLAN, true, () => 0).next(new TransportError("DISCONNECTED", "go"));
    expect(error).toBeInstanceOf(MarketDataError);
    expect(error).toMatchObject({ code: "DISCONNECTED" });
  });
});
