import { type Ack, parseAck, parseFailure, patienceMs } from "./message.js";
import type { Want } from "./model.js";
import { Pump } from "./pump.js";
import { reconcile } from "./reconcile.js";
import type { OpenRequest } from "../transport.js";

/** Sends a call and resolves with its answer; rejects when the connection is gone. */
export type Send = (event: string, payload: object) => Promise<unknown>;

interface Change {
  readonly event: "subscribe" | "unsubscribe";
  readonly payload: object;
  readonly names: readonly string[];
  readonly want?: Want;
}

/**
 * Keeps one connection's subscriptions in line with what is wanted, one call after another.
 *
 * It knows what the server has acknowledged and nothing of sockets. Before each call it looks again at
 * what is wanted, so what changed while an answer was on its way is part of the next.
 */
export class Synchronizer {
  readonly #request: OpenRequest;
  readonly #send: Send;
  readonly #confirmed = new Map<string, Want>();
  readonly #channels = new Set<string>();
  readonly #pump = new Pump(() => this.#step());

  constructor(request: OpenRequest, send: Send) {
    this.#request = request;
    this.#send = send;
  }

  /** Resolves when the server has what is wanted. */
  run(): Promise<void> {
    return this.#pump.run();
  }

  /** The server may have dropped symbols and channels without a word: these are what it has left. */
  keep(names: ReadonlySet<string>): void {
    for (const known of [this.#confirmed, this.#channels]) {
      for (const name of [...known.keys()]) if (!names.has(name)) known.delete(name);
    }
  }

  async #step(): Promise<boolean> {
    const change = this.#nextChange();
    if (!change) return false;
    if (change.event === "unsubscribe") this.#request.left(change.names);
    const answer = await this.#send(change.event, change.payload);
    const failure = parseFailure(answer);
    if (failure?.code === "RATE_LIMITED") await this.#wait(patienceMs(failure.retryAfterMs));
    else if (change.event === "unsubscribe") this.#forget(change.names);
    else this.#note(change, parseAck(answer));
    return true;
  }

  #nextChange(): Change | undefined {
    const [call] = reconcile(this.#request.wants(), this.#confirmed);
    if (call) {
      const [event, payload] = call;
      const want = event === "subscribe" ? { mode: payload.mode, maxRate: payload.maxRate } : undefined;
      return { event, payload, names: payload.symbols, ...(want && { want }) };
    }
    const wanted = this.#request.channels();
    const gone = [...this.#channels].filter((name) => !wanted.has(name));
    if (gone.length > 0) return { event: "unsubscribe", payload: { symbols: [], channels: gone }, names: gone };
    const missing = [...wanted].filter((name) => !this.#channels.has(name));
    if (missing.length > 0) return { event: "subscribe", payload: { symbols: [], channels: missing }, names: missing };
    return undefined;
  }

  #note({ names, want }: Change, { taken, refused, failure }: Ack): void {
    for (const name of names) {
      if (!taken.has(name)) {
        this.#request.refused(name, refused.get(name) ?? failure?.message ?? "not acknowledged");
      } else if (want) {
        this.#confirmed.set(name, want);
      } else {
        this.#channels.add(name);
      }
    }
  }

  #forget(names: readonly string[]): void {
    for (const name of names) {
      this.#confirmed.delete(name);
      this.#channels.delete(name);
    }
  }

  #wait(ms: number): Promise<void> {
    return new Promise((resolve) => void this.#request.timer(ms, resolve));
  }
}
