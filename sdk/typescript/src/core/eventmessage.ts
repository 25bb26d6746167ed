/** Reads what a server says of event streams. What makes no sense is left out. */

import { fields } from "./message.js";
import type { EventFilter, MarketEvent } from "./model.js";

/** What one message brought. */
export interface EventBatch {
  readonly events: readonly MarketEvent[];
  /** Events that had to be left out because they were too many. */
  readonly dropped: number;
}

/** The payload of `events`. */
export function parseEvents(payload: unknown): EventBatch {
  const { events, dropped } = fields(payload);
  return {
    events: Array.isArray(events) ? events.filter(isEvent) : [],
    dropped: typeof dropped === "number" ? dropped : 0,
  };
}

/** The answer to `event_subscriptions`: filters by name. */
export function parseHeld(answer: unknown): Map<string, EventFilter> {
  const { subscriptions } = fields(answer);
  const entries = Array.isArray(subscriptions) ? subscriptions.map(fields) : [];
  return new Map(entries.flatMap(({ name, filter }) => (typeof name === "string" ? [[name, fields(filter)]] : [])));
}

function isEvent(value: unknown): value is MarketEvent {
  const { id, type, name, timestamp, data, matched } = fields(value);
  const named = [id, type, name].every((text) => typeof text === "string");
  const meant = matched === undefined || (Array.isArray(matched) && matched.every((text) => typeof text === "string"));
  return named && meant && typeof timestamp === "number" && typeof data === "object" && data !== null;
}
