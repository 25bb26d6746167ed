/**
 * Event streams of a client: who listens to what, and who is given which event. It is loaded by those who
 * subscribe to events and by nobody else.
 */

import { asError, RequestError, TransportError } from "./core/errors.js";
import { parseEvents } from "./core/eventmessage.js";
import { normalizeFilter, sameFilter } from "./core/eventreconcile.js";
import { type EventRequest, EventSynchronizer } from "./core/eventsynchronizer.js";
import { guarded, Listeners } from "./core/listeners.js";
import type { EventFilter, MarketEvent } from "./core/model.js";
import { Seen } from "./core/seen.js";
import type { Connection } from "./connection.js";
import type { Link } from "./transport.js";

/** Somebody who wants events. */
export interface EventConsumer {
  readonly callback: (event: MarketEvent) => unknown;
  readonly onError?: ((error: Error) => unknown) | undefined;
}

/** One time that somebody joined. */
interface Seat {
  readonly consumer: EventConsumer;
  /** What it was told last. */
  told?: Error;
}

interface Subscription {
  readonly filter: EventFilter;
  readonly seats: Set<Seat>;
}

/** See the module. */
export class EventStreams {
  readonly #connection: Connection;
  readonly #errors: Listeners<[error: Error]>;
  readonly #subscriptions = new Map<string, Subscription>();
  readonly #everything = new Set<Seat>();
  readonly #dropped = new Listeners<[count: number]>();
  readonly #left = new Set<string>();
  readonly #seen = new Seen();
  #link: Link | undefined;
  #synchronizer: Promise<EventSynchronizer> | undefined;

  /**
   * @param connection - the client's
   * @param errors - those who are told what concerns the client as a whole, and of refused subscriptions
   */
  constructor(connection: Connection, errors: Listeners<[error: Error]>) {
    this.#connection = connection;
    this.#errors = errors;
  }

  /** Whether anybody wants events. */
  get listens(): boolean {
    return this.#subscriptions.size + this.#everything.size > 0;
  }

  /**
   * Takes a consumer in, unless the name is in use here with another filter: `CONFLICT`.
   *
   * @returns what makes it leave, as often as it is called
   */
  subscribe(name: string, filter: EventFilter, consumer: EventConsumer): () => void {
    const seat: Seat = { consumer };
    const wanted = normalizeFilter(filter);
    const subscription = this.#subscriptions.get(name) ?? { filter: wanted, seats: new Set<Seat>() };
    if (!sameFilter(wanted, subscription.filter)) {
      this.#report(new RequestError("CONFLICT", `${name}: is in use with another filter`), [seat]);
      return () => {};
    }
    subscription.seats.add(seat);
    this.#subscriptions.set(name, subscription);
    const { state, error } = this.#connection;
    if (state === "failed" && error) tellOf(error, seat);
    this.sync();
    return () => this.#leave(name, subscription, seat);
  }

  /** Listens to events for everybody; returns what ends it. */
  onEvent(callback: (event: MarketEvent) => unknown): () => void {
    const seat: Seat = { consumer: { callback } };
    this.#everything.add(seat);
    this.sync();
    return () => {
      this.#everything.delete(seat);
      this.sync();
    };
  }

  /** Listens to losses; returns what ends it. */
  onDropped(listener: (count: number) => void): () => void {
    return this.#dropped.add(listener);
  }

  /** Takes what a server sent as `events`. */
  hear(payload: unknown): void {
    const { events, dropped } = parseEvents(payload);
    for (const event of events) this.#deliver(event);
    if (dropped > 0) this.#dropped.emit(dropped);
  }

  /** Tells every consumer, once for each time it joined; they stay. */
  tell(error: Error): void {
    for (const { seats } of [...this.#subscriptions.values()]) for (const seat of [...seats]) tellOf(error, seat);
  }

  /** Brings the server in line with what is wanted, if there is one; otherwise the next connection does. */
  sync(): void {
    const { link } = this.#connection;
    if (!link) return;
    if (link !== this.#link) {
      this.#link = link;
      this.#synchronizer = this.#synchronize(link);
    }
    this.#synchronizer
      ?.then((synchronizer) => synchronizer.run())
      .then(() => {
        if (this.#subscriptions.size > 0) this.#connection.healthy(link);
      })
      .catch((error: unknown) => {
        // That a connection is gone it says itself.
        if (!(error instanceof TransportError)) this.#errors.emit(asError(error));
      });
  }

  async #synchronize(link: Link): Promise<EventSynchronizer> {
    const found = link.events ? await link.events() : NO_EVENTS;
    const request: EventRequest = {
      timer: this.#connection.timer,
      wants: () => new Map([...this.#subscriptions].map(([name, { filter }]) => [name, filter])),
      listens: () => this.listens,
      left: this.#left,
      refused: (name, error) => this.#refuse(name, error),
      delayed: (error) => this.#errors.emit(error),
    };
    return new EventSynchronizer(request, found);
  }

  #deliver(event: MarketEvent): void {
    const named = event.matched?.map((name) => this.#subscriptions.get(name)) ?? [...this.#subscriptions.values()];
    const sets = named.map((subscription) => subscription?.seats ?? NOBODY);
    for (const set of event.matched ? sets : [...sets, this.#everything]) {
      for (const seat of [...set]) this.#give(event, set, seat);
    }
  }

  /** Gives an event to a consumer that has not left meanwhile, unless it has it by another name. */
  #give(event: MarketEvent, set: ReadonlySet<Seat>, seat: Seat): void {
    const { callback } = seat.consumer;
    if (set.has(seat) && this.#seen.isFirst(event.id, callback)) guarded(() => callback(event));
  }

  #leave(name: string, subscription: Subscription, seat: Seat): void {
    // One that was refused has no place any more, and its name may be another's.
    if (this.#subscriptions.get(name) !== subscription) return;
    if (!subscription.seats.delete(seat) || subscription.seats.size > 0) return;
    this.#subscriptions.delete(name);
    this.#left.add(name);
    this.sync();
  }

  #refuse(name: string, { code, message }: RequestError): void {
    const { seats = NOBODY } = this.#subscriptions.get(name) ?? {};
    this.#subscriptions.delete(name);
    this.#report(new RequestError(code, message.startsWith(`${name}: `) ? message : `${name}: ${message}`), seats);
  }

  #report(error: RequestError, seats: Iterable<Seat>): void {
    this.#errors.emit(error);
    for (const seat of seats) tellOf(error, seat);
  }
}

const NOBODY: ReadonlySet<Seat> = new Set();

const UNSUPPORTED = { error: "this transport has no event streams", code: "UNSUPPORTED" };

/** Stands for a transport that has no event streams. */
const NO_EVENTS = { call: () => Promise.resolve(UNSUPPORTED), listen: () => Promise.resolve(UNSUPPORTED) };

/** Tells a consumer, once. */
function tellOf(error: Error, seat: Seat): void {
  if (seat.told === error) return;
  seat.told = error;
  guarded(() => seat.consumer.onError?.(error));
}
