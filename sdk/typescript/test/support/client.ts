import { beforeEach } from "vitest";

import { type ClientOptions, CoreClient } from "../../src/client.js";
import type { BestPrice } from "../../src/core/model.js";
import { FakeClock } from "./clock.js";
import { Market } from "./market.js";

/** The clock and the server of the test that runs. */
export let clock: FakeClock;
export let market: Market;

beforeEach(() => {
  clock = new FakeClock();
  market = new Market();
});

export function makeClient(options: Partial<ClientOptions> = {}): CoreClient {
  return new CoreClient({ url: "http://x/", token: "t", timer: clock.timer, random: () => 0, transport: market, ...options });
}

/** A client, and all the states it went through with their reasons. */
export function watched(options: Partial<ClientOptions> = {}): { client: CoreClient; states: string[]; errors: Error[] } {
  const client = makeClient(options);
  const states: string[] = [client.state];
  const errors: Error[] = [];
  client.onState((state) => states.push(state));
  client.onError((error) => errors.push(error));
  return { client, states, errors };
}

/** A callback that notes the middles it got. */
export function sink(): { got: (number | null)[]; callback: (price: BestPrice) => void } {
  const got: (number | null)[] = [];
  return { got, callback: ({ midPrice }) => got.push(midPrice) };
}

export const subscribed = (symbols: string[], mode = "latest", maxRate = 0): unknown => ["subscribe", { symbols, mode, maxRate }];
export const ignore = (): void => {};
