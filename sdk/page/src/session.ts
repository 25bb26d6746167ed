/** The connection of the page: one client of the package, and subscriptions that follow the watchlist. */

import {
  type BestPrice,
  type ConnectionState,
  type Lagged,
  MarketDataClient,
  socketio,
  SubscriptionError,
  type SymbolStatus,
} from "@marketstream/client";

/** What somebody who watches the session is told. */
export interface SessionEvents {
  price(price: BestPrice): void;
  status(status: SymbolStatus): void;
  lagged(lagged: Lagged): void;
  state(state: ConnectionState, error: Error | undefined): void;
  /** The server does not deliver this symbol. */
  refused(symbol: string, reason: string): void;
  /** Anything else that went wrong. */
  error(error: Error): void;
}

/** Where the server is, and how a token is come by: by asking, or one that the user gave. */
export interface SessionOptions {
  readonly url: string;
  readonly path: string;
  readonly getToken: (() => Promise<string>) | undefined;
}

/** A server that restarts is back within seconds, and a page that is looked at never gives up. */
const RECONNECTION = { attempts: 0, delayMs: 1_000, maxDelayMs: 15_000 };

export class Session {
  readonly #options: SessionOptions;
  readonly #events: SessionEvents;
  readonly #watched = new Map<string, () => void>();
  #client: MarketDataClient | undefined;
  #symbols: readonly string[] = [];

  constructor(options: SessionOptions, events: SessionEvents) {
    this.#options = options;
    this.#events = events;
  }

  /** Where it is; `idle` until there is a token. */
  get state(): ConnectionState {
    return this.#client?.state ?? "idle";
  }

  /** Connects; with this token, where none can be asked for. Ends the connection there was. */
  open(token?: string): void {
    this.close();
    const { url, path, getToken } = this.#options;
    const client = new MarketDataClient({
      url,
      transport: socketio({ path }),
      reconnection: RECONNECTION,
      ...(getToken ? { getToken } : token === undefined ? {} : { token }),
    });
    const events = this.#events;
    client.onState((state, error) => {
      if (client === this.#client) events.state(state, error);
    });
    client.onStatus((status) => events.status(status));
    client.onLagged((lagged) => events.lagged(lagged));
    client.onError((error) => {
      // Those have been told otherwise: to the consumer, and by the state.
      if (!(error instanceof SubscriptionError) && error !== client.error) events.error(error);
    });
    this.#client = client;
    this.#follow();
    void client.connect();
  }

  /** Ends the connection and forgets its token. */
  close(): void {
    const client = this.#client;
    this.#client = undefined;
    this.#watched.clear();
    client?.disconnect();
  }

  /** Ends the connection until `resume`. */
  pause(): void {
    this.#client?.disconnect();
  }

  /** Connects now, whether it was paused, has failed, or waits for its next attempt. */
  resume(): void {
    if (this.state === "reconnecting") this.#client?.disconnect();
    void this.#client?.connect();
  }

  /** Watches these symbols and no others. */
  watch(symbols: readonly string[]): void {
    this.#symbols = symbols;
    this.#follow();
  }

  #follow(): void {
    const client = this.#client;
    if (!client) return;
    const wanted = new Set(this.#symbols);
    for (const [symbol, leave] of this.#watched) {
      if (wanted.has(symbol)) continue;
      this.#watched.delete(symbol);
      leave();
    }
    for (const symbol of wanted) if (!this.#watched.has(symbol)) this.#watched.set(symbol, this.#join(client, symbol));
  }

  #join(client: MarketDataClient, symbol: string): () => void {
    return client.subscribe(symbol, (price) => this.#events.price(price), {
      onError: (error) => {
        if (!(error instanceof SubscriptionError)) return;
        this.#watched.delete(symbol);
        this.#events.refused(symbol, error.reason);
      },
    });
  }
}
