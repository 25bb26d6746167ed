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
  Lagged,
  Mode,
  Quote,
  Side,
  SymbolStatus,
  Want,
  Wants,
} from "./core/model.js";
export type { RetryPlan } from "./core/retry.js";
export type { Timer } from "./core/timer.js";
export type { ClientOptions, SubscribeOptions } from "./client.js";
export type { Link, OpenRequest, Transport } from "./transport.js";
