/**
 * The client for a marketstream server, over Socket.IO unless told otherwise.
 *
 * @packageDocumentation
 */

import { type ClientOptions, CoreClient } from "./client.js";
import type { Transport } from "./transport.js";
import { socketio } from "./transports/socketio.js";

export * from "./public.js";
export { socketio, type SocketIoOptions } from "./transports/socketio.js";

/** What a client needs to know. */
export interface MarketDataClientOptions extends ClientOptions {
  /** How the server is reached: by name with the defaults, or what `socketio(...)` or the `sse(...)` of `/sse` made. */
  readonly transport?: "socketio" | "sse" | Transport;
}

/** A client that speaks Socket.IO unless it is given another transport. */
export class MarketDataClient extends CoreClient {
  constructor({ transport = "socketio", ...options }: MarketDataClientOptions) {
    super({ ...options, transport: named(transport) });
  }
}

function named(transport: "socketio" | "sse" | Transport): Transport {
  if (transport === "socketio") return socketio();
  return transport === "sse" ? eventStreams() : transport;
}

/** Server-sent events, loaded by those who ask for them. */
function eventStreams(): Transport {
  let loaded: Promise<Transport> | undefined;
  return {
    every: false,
    channels: false,
    open: async (request) => {
      loaded ??= import("./transports/sse.js").then(({ sse }) => sse());
      return (await loaded).open(request);
    },
  };
}
