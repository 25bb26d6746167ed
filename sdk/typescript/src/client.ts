import { Audience, type Consumer } from "./core/audience.js";
import { isNews } from "./core/delivery.js";
import { asError, MarketDataError, RequestError, SubscriptionError } from "./core/errors.js";
import { guarded, Listeners } from "./core/listeners.js";
import { CHANNELS, parseError, parseLagged, parsePrices, parseStatus, parseUpdate } from "./core/message.js";
import type {
  BestPrice,
  Channel,
  ChannelUpdate,
  ConnectionState,
  EventFilter,
  Lagged,
  MarketEvent,
  Mode,
  Quote,
  SymbolStatus,
} from "./core/model.js";
import { DEFAULT_PLAN, Retry, type RetryPlan } from "./core/retry.js";
import { normalizeSymbol, normalizeSymbols } from "./core/symbol.js";
import { realTimer, type Timer } from "./core/timer.js";
import { Connection } from "./connection.js";
import type { EventStreams } from "./events.js";
import type { Transport } from "./transport.js";

/** What a client needs to know. */
export interface ClientOptions {
  /** The server's base URL, such as `https://prices.example.com` or `https://example.com/md/`. */
  readonly url: string;
  /** A token that never changes; when it ends, so does the client. */
  readonly token?: string;
  /** Gives a token, anew for each connection and shortly before one ends. Wins over `token`. */
  readonly getToken?: () => string | Promise<string>;
  /** How often and when connecting is tried again; false for never. */
  readonly reconnection?: boolean | Partial<RetryPlan>;
  /** What waits; the clock of a test. */
  readonly timer?: Timer;
  /** Numbers from 0 to 1 for the jitter. */
  readonly random?: () => number;
}

/** The options of a client that still has to be told how the server is reached. */
export interface CoreOptions extends ClientOptions {
  readonly transport: Transport;
}

/** How symbols are subscribed to. */
export interface SubscribeOptions {
  /** `latest`, the default, skips values for who does not keep up; `every` never does. */
  readonly mode?: Mode;
  /** Updates a second and symbol at most, from 0.01; 0, the default, for no limit. */
  readonly maxRate?: number;
  /** Called when a symbol is refused (`SubscriptionError`), and when the client has failed. */
  readonly onError?: (error: Error) => void;
}

/** How events are subscribed to. */
export interface EventOptions {
  /** Called when the subscription is refused (the error's `code` says why), and when the client has failed. */
  readonly onError?: (error: Error) => void;
}

/**
 * Best prices of one server, over one connection that is kept and made again.
 *
 * It connects with the first subscription. Symbols are counted: the server is asked for each once, however
 * many consumers there are, and told to stop when the last has left.
 */
export class CoreClient {
  readonly #prices = new Audience<BestPrice>();
  readonly #channels = new Audience<ChannelUpdate>();
  readonly #states = new Listeners<[state: ConnectionState, error: Error | undefined]>();
  readonly #errors = new Listeners<[error: Error]>();
  readonly #statuses = new Listeners<[status: SymbolStatus]>();
  readonly #lags = new Listeners<[lagged: Lagged]>();
  readonly #transport: Transport;
  readonly #renewable: boolean;
  readonly #connection: Connection;
  // Loaded by those who ask for events.
  #events: Promise<EventStreams> | undefined;

  constructor(options: CoreOptions) {
    const { url, token, getToken, reconnection = true, timer = realTimer, random = Math.random, transport } = options;
    const plan = reconnection && { ...DEFAULT_PLAN, ...(reconnection === true ? {} : reconnection) };
    this.#transport = transport;
    this.#renewable = getToken !== undefined;
    this.#connection = new Connection({
      transport,
      timer,
      retry: () => new Retry(plan || undefined, this.#renewable, random),
      token: getToken ?? (() => token),
      onState: (state, error) => this.#changed(state, error),
      endpoint: {
        url: url.replace(/\/+$/, ""),
        timer,
        wants: () => this.#prices.wants,
        channels: () => new Set(this.#channels.wants.keys()),
        events: async () => !!(await this.#withEvents(({ listens }) => listens)),
        knows: (symbol) => this.#prices.last(symbol) !== undefined,
        event: (name, payload) => this.#hear(name, payload),
        refused: (name, reason) => this.#refuse(name, new SubscriptionError(name, reason)),
        left: (names) => (this.#prices.drop(names), this.#channels.drop(names)),
      },
    });
  }

  /** Where the client is. */
  get state(): ConnectionState {
    return this.#connection.state;
  }

  /** Why it is not connected: what it failed of, or the last attempt. */
  get error(): Error | undefined {
    return this.#connection.error;
  }

  /** Whether prices flow. */
  isConnected(): boolean {
    return this.state === "connected";
  }

  /**
   * Connects, also a client that has failed or was closed; its subscriptions are made again.
   *
   * @returns a promise that resolves when it is connected. It rejects with an `AuthenticationError`, a
   * `ConnectionFailedError`, or, after `disconnect()`, a `MarketDataError`; it may be left alone.
   */
  connect(): Promise<void> {
    return this.#connection.start();
  }

  /** Closes the connection. Consumers stay, and hear nothing until `connect()`. */
  disconnect(): void {
    this.#connection.stop();
  }

  /**
   * Calls back with each price of the symbols: the last known at once, then whatever is newer.
   *
   * A price is never older than the one before and never the same again, whatever happens to the
   * connection.
   *
   * @returns a function that ends this subscription and no other
   * @throws InvalidSymbolError One of them is none.
   * @throws RangeError `maxRate` is no rate.
   * @throws MarketDataError No symbol is named, or the transport does not do this mode (`UNSUPPORTED`).
   */
  subscribe(
    symbols: string | readonly string[],
    callback: (price: BestPrice) => unknown,
    options: SubscribeOptions = {},
  ): () => void {
    const { mode = "latest", maxRate = 0, onError } = options;
    if (!(maxRate === 0 || (maxRate >= 0.01 && maxRate <= 1_000_000))) {
      throw new RangeError("maxRate must be 0 or from 0.01 to 1000000");
    }
    if (mode === "every" && !this.#transport.every) {
      throw new MarketDataError("UNSUPPORTED", "this transport has no mode every");
    }
    return this.#join(this.#prices, normalizeSymbols(symbols), { callback, onError, want: { mode, maxRate } });
  }

  /**
   * Takes back one subscription of each symbol, made by whomever. Callbacks hear of it until as many were
   * taken back as made; what `subscribe` returns, or `removeCallback`, ends a certain one.
   */
  unsubscribe(symbols: string | readonly string[]): void {
    for (const symbol of normalizeSymbols(symbols)) this.#prices.release(symbol);
    this.#sync();
  }

  /** Ends the subscription of one symbol by this callback; the latest, if there are several. */
  removeCallback(symbol: string, callback: (price: BestPrice) => unknown): void {
    this.#prices.remove(normalizeSymbol(symbol), callback);
    this.#sync();
  }

  /**
   * Calls back with each update of the channels, the last known first.
   *
   * @returns a function that ends this subscription and no other
   * @throws MarketDataError There is no such channel, or the transport has none (`UNSUPPORTED`).
   */
  subscribeChannels(
    channels: readonly Channel[],
    callback: (update: ChannelUpdate) => unknown,
    { onError }: Pick<SubscribeOptions, "onError"> = {},
  ): () => void {
    if (!this.#transport.channels) throw new MarketDataError("UNSUPPORTED", "this transport has no channels");
    const unknown = channels.find((name) => !CHANNELS.includes(name));
    if (unknown !== undefined) throw new MarketDataError("INVALID_MESSAGE", `there is no channel ${unknown}`);
    const want = { mode: "latest", maxRate: 0 } as const;
    return this.#join(this.#channels, [...new Set(channels)], { callback, onError, want });
  }

  /**
   * Calls back with each event that matches the filter, and with those that are sent to everybody.
   *
   * The subscription is the user's: the server keeps it under its name, beyond connections, until the last
   * consumer of this client leaves. Consumers of one name share it and must want the same.
   *
   * @returns a function that ends this subscription and no other
   */
  subscribeEvents<T = Record<string, unknown>>(
    name: string,
    filter: EventFilter,
    callback: (event: MarketEvent<T>) => unknown,
    { onError }: EventOptions = {},
  ): () => void {
    const consumer = { callback: callback as (event: MarketEvent) => unknown, onError };
    const leave = this.#attend((events) => events.subscribe(name, filter, consumer), onError);
    if (this.state === "idle") void this.connect();
    return leave;
  }

  /** The last price that was delivered of a symbol somebody subscribes to. */
  lastPrice(symbol: string): BestPrice | undefined {
    return this.#prices.last(normalizeSymbol(symbol));
  }

  /**
   * Asks for one quote, connecting first if need be.
   *
   * Rejects with a `RequestError` (its `code` is the server's, such as `UNKNOWN_SYMBOL`), or when there is
   * no connection.
   */
  async getQuote(symbol: string): Promise<Quote> {
    const wanted = normalizeSymbol(symbol);
    if (!this.isConnected()) await this.connect();
    const link = this.#connection.link;
    if (!link) throw new RequestError("CLOSED", "the connection is gone");
    return (await link.getQuote(wanted)) as Quote;
  }

  /** Listens to the connection's states; the error says why, where there is a reason. Returns what ends it. */
  onState(listener: (state: ConnectionState, error: Error | undefined) => void): () => void {
    return this.#states.add(listener);
  }

  /** Listens to what goes wrong: refused symbols, errors of the server, failing for good. Returns what ends it. */
  onError(listener: (error: Error) => void): () => void {
    return this.#errors.add(listener);
  }

  /** Listens to how far prices can be trusted. Returns what ends it. */
  onStatus(listener: (status: SymbolStatus) => void): () => void {
    return this.#statuses.add(listener);
  }

  /** Listens to losses in mode `every`. Returns what ends it. */
  onLagged(listener: (lagged: Lagged) => void): () => void {
    return this.#lags.add(listener);
  }

  /** Listens to events that are sent to everybody, whatever is subscribed to. Returns what ends it. */
  onEvent(listener: (event: MarketEvent) => void): () => void {
    return this.#attend((events) => events.onEvent(listener));
  }

  /** Listens to how many events were left out because they were too many. Returns what ends it. */
  onEventsDropped(listener: (count: number) => void): () => void {
    return this.#attend((events) => events.onDropped(listener));
  }

  /** Joins the event streams as soon as they are loaded, unless what is returned was called before. */
  #attend(join: (events: EventStreams) => () => void, onError?: (error: Error) => void): () => void {
    let left = false;
    let leave = (): void => void (left = true);
    this.#events ??= import("./events.js").then((loaded) => new loaded.EventStreams(this.#connection, this.#errors));
    this.#events.then((events) => void (left || (leave = join(events))), (error: Error) => {
      // What could not be loaded may be there the next time.
      this.#events = undefined;
      this.#errors.emit(error);
      guarded(() => onError?.(error));
    });
    return () => leave();
  }

  /** Does something once the event streams are loaded, if anybody has asked for them. */
  #withEvents<T>(task: (events: EventStreams) => T): Promise<T | void> | undefined {
    return this.#events?.then(task, () => {}); // Who asked was told why they are not there.
  }

  #join<T>(audience: Audience<T>, keys: readonly string[], consumer: Consumer<T>): () => void {
    const leave = audience.join(keys, consumer);
    const { state, error } = this;
    if (state === "idle") void this.connect();
    else if (state === "failed" && error) queueMicrotask(() => guarded(() => consumer.onError?.(error)));
    else this.#sync();
    return () => {
      leave();
      this.#sync();
    };
  }

  /** Tells the server what changed, if there is one; otherwise the next connection does. */
  #sync(): void {
    const link = this.#connection.link;
    link?.sync().then(
      () => this.#prices.size > 0 && this.#connection.healthy(link),
      () => {}, // The connection is gone, and says so itself.
    );
  }

  #changed(state: ConnectionState, error: Error | undefined): void {
    if (state === "connected") {
      this.#prices.prune();
      this.#channels.prune();
      this.#sync();
      void this.#withEvents((events) => events.sync());
    }
    this.#states.emit(state, error);
    if (state === "failed" && error) {
      this.#errors.emit(error);
      this.#prices.tell(error);
      this.#channels.tell(error);
      void this.#withEvents((events) => events.tell(error));
    }
  }

  #hear(name: string, payload: unknown): void {
    switch (name) {
      case "price":
      case "snapshot":
        return parsePrices(payload).forEach((price) => this.#deliver(price));
      case "market_update":
      case "sector_update":
      case "sentiment_update":
        return this.#update(parseUpdate(payload));
      case "events":
        return void this.#withEvents((events) => events.hear(payload));
      case "status":
        return emitted(this.#statuses, parseStatus(payload));
      case "lagged":
        return emitted(this.#lags, parseLagged(payload));
      case "token_expiring":
        return this.#renew();
      case "error": {
        const { code, message } = parseError(payload, "INTERNAL");
        return this.#errors.emit(new RequestError(code, message));
      }
    }
  }

  #deliver(price: BestPrice): void {
    if (isNews(price, this.#prices.last(price.symbol))) this.#prices.deliver(price.symbol, price);
  }

  /** A server repeats the last update to who begins to listen, after reconnecting too. */
  #update(update: ChannelUpdate | undefined): void {
    if (!update) return;
    const last = this.#channels.last(update.channel);
    if (!last || update.timestamp > last.timestamp) this.#channels.deliver(update.channel, update);
  }

  #refuse(name: string, error: SubscriptionError): void {
    this.#prices.refuse(name, error);
    this.#channels.refuse(name, error);
    this.#errors.emit(error);
  }

  #renew(): void {
    if (this.#renewable) this.#connection.renew().catch((error: unknown) => this.#errors.emit(asError(error)));
  }
}

function emitted<T>(listeners: Listeners<[T]>, value: T | undefined): void {
  if (value !== undefined) listeners.emit(value);
}
