/** What both entries of the package export: everything but the client itself. */

export {
  AuthenticationError,
  ConnectionFailedError,
  InvalidSymbolError,
  MarketDataError,
  RequestError,
  SubscriptionError,
  TransportError,
} from "./core/errors.js";
export type {
  BestPrice,
  Channel,
  ChannelUpdate,
  ConnectionState,
  EventFilter,
  Lagged,
  MarketEvent,
  Mode,
  Priority,
  Quote,
  Side,
  SymbolStatus,
  Tier,
  Want,
  Wants,
} from "./core/model.js";
export type { RetryPlan } from "./core/retry.js";
export type { Timer } from "./core/timer.js";
export type { ClientOptions, EventOptions, SubscribeOptions } from "./client.js";
export type { EventLink, Link, OpenRequest, Transport } from "./transport.js";
