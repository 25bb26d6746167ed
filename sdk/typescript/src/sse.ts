/**
 * The same client over server-sent events alone: an application that imports it from here has no
 * Socket.IO in its bundle.
 *
 * @packageDocumentation
 */

import { type ClientOptions, CoreClient } from "./client.js";
import type { Transport } from "./transport.js";
import { sse } from "./transports/sse.js";

export * from "./public.js";
export { sse, type SseOptions } from "./transports/sse.js";

/** What a client needs to know. */
export interface MarketDataClientOptions extends ClientOptions {
  /** What `sse(...)` made, or a transport of your own. */
  readonly transport?: "sse" | Transport;
}

/** A client that reads server-sent events unless it is given another transport. */
export class MarketDataClient extends CoreClient {
  constructor({ transport = "sse", ...options }: MarketDataClientOptions) {
    super({ ...options, transport: transport === "sse" ? sse() : transport });
  }
}
