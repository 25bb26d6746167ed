import { beforeEach, vi } from "vitest";

import { CoreClient, type CoreOptions } from "../../src/client.js";
import type { EventFilter, MarketEvent } from "../../src/core/model.js";
import { FakeClock, settle } from "./clock.js";
import { Market } from "./market.js";

/** The clock and the server of the test that runs, and the codes of what went wrong in it. */
export let clock: FakeClock;
export let market: Market;
export let errors: string[];

beforeEach(() => {
  clock = new FakeClock();
  market = new Market();
  errors = [];
});

export function makeClient(options: Partial<CoreOptions> = {}): CoreClient {
  const client = new CoreClient({ url: "http://x/", token: "t", timer: clock.timer, random: () => 0, transport: market, ...options });
  client.onError((error) => errors.push((error as Error & { code: string }).code));
  return client;
}

/** Lets event streams be loaded, and then every promise settle that can. */
export async function settled(): Promise<void> {
  await vi.dynamicImportSettled();
  await settle();
}

/** A callback that notes the ids it got. */
export function sink(): { got: string[]; callback: (event: MarketEvent) => void } {
  const got: string[] = [];
  return { got, callback: ({ id }) => got.push(id) };
}

/** Sends events as one message, and waits until they are delivered. */
export async function send(...events: MarketEvent[]): Promise<void> {
  market.latest.event("events", { events });
  await settled();
}

export const ASKED: unknown = ["event_subscriptions", {}];
export const subscribed = (name: string, filter: EventFilter = {}): unknown => ["subscribe_events", { name, filter }];
export const unsubscribed = (name: string): unknown => ["unsubscribe_events", { name }];
export const ignore = (): void => {};

/** A server that knows no field `typs`. */
export function refusing(event: string, { filter }: Record<string, unknown>): unknown {
  const refused = event === "subscribe_events" && "typs" in (filter as object);
  return refused ? { error: "typs: is no field of a filter", code: "INVALID_MESSAGE" } : undefined;
}
