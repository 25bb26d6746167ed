import { guarded } from "./listeners.js";
import type { Want, Wants } from "./model.js";
import { stronger } from "./reconcile.js";

/** Somebody who wants the values of some keys. */
export interface Consumer<T> {
  readonly callback: (value: T) => unknown;
  readonly onError?: ((error: Error) => unknown) | undefined;
  readonly want: Want;
}

interface Seat<T> {
  readonly consumer: Consumer<T>;
  /** Whether it still has to be given the last known value. */
  owed: boolean;
}

/**
 * Who wants what, counted: a key is wanted while anybody wants it, however often others leave.
 *
 * It also keeps the last value of each key, which who comes later is given at once.
 */
export class Audience<T> {
  readonly #seats = new Map<string, Set<Seat<T>>>();
  readonly #released = new Map<string, number>();
  readonly #last = new Map<string, T>();

  /** What is wanted, by the strongest of those who want it. */
  get wants(): Wants {
    const merge = (seats: Set<Seat<T>>): Want => [...seats].map(({ consumer }) => consumer.want).reduce(stronger);
    return new Map([...this.#seats].map(([key, seats]) => [key, merge(seats)]));
  }

  /** How many keys are wanted. */
  get size(): number {
    return this.#seats.size;
  }

  /** The last value of the key, if one was delivered. */
  last(key: string): T | undefined {
    return this.#last.get(key);
  }

  /**
   * Takes a consumer in. It gets the last known values in the next microtask, or newer ones before that.
   *
   * @returns what makes it leave, as often as it is called
   */
  join(keys: readonly string[], consumer: Consumer<T>): () => void {
    const seats = keys.map((key): [string, Seat<T>] => [key, { consumer, owed: true }]);
    for (const [key, seat] of seats) {
      const there = this.#seats.get(key) ?? new Set();
      this.#seats.set(key, there.add(seat));
    }
    queueMicrotask(() => {
      for (const [key, seat] of seats) this.#greet(key, seat);
    });
    return () => {
      for (const [key, seat] of seats) this.#leave(key, seat);
    };
  }

  /** One of those who want the key leaves without saying who: the key ends when all have. */
  release(key: string): void {
    if (!this.#seats.has(key)) return;
    this.#released.set(key, (this.#released.get(key) ?? 0) + 1);
    this.#settle(key);
  }

  /** Makes one consumer with this callback leave the key; the latest, if there are several. */
  remove(key: string, callback: (value: T) => unknown): void {
    const seat = [...(this.#seats.get(key) ?? [])].reverse().find(({ consumer }) => consumer.callback === callback);
    if (seat) this.#leave(key, seat);
  }

  /** Gives a value to all who want the key; nobody wants it: it is forgotten. */
  deliver(key: string, value: T): void {
    const seats = this.#seats.get(key);
    if (!seats) return;
    this.#last.set(key, value);
    for (const seat of [...seats]) this.#give(key, seat, value);
  }

  /** Sends all who want the key away, with the reason. */
  refuse(key: string, error: Error): void {
    const seats = this.#seats.get(key) ?? [];
    this.#forget(key);
    this.#last.delete(key);
    for (const { consumer } of seats) guarded(() => consumer.onError?.(error));
  }

  /** Tells everybody, once each; they stay. */
  tell(error: Error): void {
    const consumers = new Set([...this.#seats.values()].flatMap((seats) => [...seats].map((seat) => seat.consumer)));
    for (const consumer of consumers) guarded(() => consumer.onError?.(error));
  }

  /** Forgets the values of these keys: the server does not keep them up to date any more. */
  drop(keys: Iterable<string>): void {
    for (const key of keys) this.#last.delete(key);
  }

  /** Forgets the values of all keys that nobody wants. */
  prune(): void {
    this.drop([...this.#last.keys()].filter((key) => !this.#seats.has(key)));
  }

  #greet(key: string, seat: Seat<T>): void {
    const value = this.#last.get(key);
    if (seat.owed && value !== undefined) this.#give(key, seat, value);
  }

  #give(key: string, seat: Seat<T>, value: T): void {
    if (!this.#seats.get(key)?.has(seat)) return;
    seat.owed = false;
    guarded(() => seat.consumer.callback(value));
  }

  #leave(key: string, seat: Seat<T>): void {
    if (this.#seats.get(key)?.delete(seat)) this.#settle(key);
  }

  #settle(key: string): void {
    const left = (this.#seats.get(key)?.size ?? 0) - (this.#released.get(key) ?? 0);
    if (left <= 0) this.#forget(key);
  }

  #forget(key: string): void {
    this.#seats.delete(key);
    this.#released.delete(key);
  }
}
