import { RequestError } from "./errors.js";
import { parseHeld } from "./eventmessage.js";
import { type EventFilters, reconcileEvents, sameFilter } from "./eventreconcile.js";
import { parseFailure, patienceMs } from "./message.js";
import type { EventFilter } from "./model.js";
import { Pump } from "./pump.js";
import type { Timer } from "./timer.js";
import type { EventLink } from "../transport.js";

/** What there should be, and who is told what becomes of it. */
export interface EventRequest {
  readonly timer: Timer;
  /** Filters that are wanted by name, as of now. */
  wants(): EventFilters;
  /** Whether anybody listens, as of now, be it only to what is sent to everybody. */
  listens(): boolean;
  /** Names that were given up and of which the server has not been told; each is taken out when it has. */
  readonly left: Set<string>;
  /** The server does not take a subscription; `wants` lacks it afterwards. */
  refused(name: string, error: RequestError): void;
  /** Something does not work for now and is tried again. */
  delayed(error: RequestError): void;
}

interface Outcome {
  readonly answer: unknown;
  /** Set when the server will not do it. */
  readonly error: RequestError | undefined;
}

/** Failures that pass. */
const PASSING = new Set(["RATE_LIMITED", "UNAVAILABLE", "BUS_UNAVAILABLE", "CONNECTION_LIMIT", "TIMEOUT", "TOKEN_EXPIRED"]);

/**
 * Keeps the user's subscriptions to events in line with what is wanted, over one connection, one call after
 * another.
 *
 * It asks first what there is: a server keeps them beyond connections, unless it was started anew and had
 * nowhere to keep them. Before each call it looks again at what is wanted.
 */
export class EventSynchronizer {
  readonly #request: EventRequest;
  readonly #link: EventLink;
  readonly #pump = new Pump(() => this.#step());
  #listening = false;
  #held: Map<string, EventFilter> | undefined;

  constructor(request: EventRequest, link: EventLink) {
    this.#request = request;
    this.#link = link;
  }

  /** Resolves when the server has what is wanted; rejects when the connection is gone. */
  run(): Promise<void> {
    return this.#pump.run();
  }

  async #step(): Promise<boolean> {
    const wants = this.#request.wants();
    const listens = this.#request.listens();
    if (listens !== this.#listening) await this.#listen(listens, wants);
    else if (wants.size + this.#request.left.size === 0) return false;
    else if (!this.#held) await this.#ask(wants);
    else return this.#change(wants, this.#held);
    return true;
  }

  async #listen(wanted: boolean, wants: EventFilters): Promise<void> {
    const outcome = await this.#try(this.#link.listen(wanted));
    if (!outcome) return;
    this.#listening = wanted;
    this.#refuse(wants, outcome.error);
  }

  async #ask(wants: EventFilters): Promise<void> {
    const outcome = await this.#try(this.#link.call("event_subscriptions", {}));
    if (!outcome) return;
    this.#held = parseHeld(outcome.answer);
    this.#refuse(wants, outcome.error);
  }

  /** Makes one call; whether there was one to make. */
  async #change(wants: EventFilters, held: Map<string, EventFilter>): Promise<boolean> {
    const { left } = this.#request;
    const [call] = reconcileEvents(wants, held, left);
    if (!call) return false;
    const [event, payload] = call;
    const outcome = await this.#try(this.#link.call(event, payload));
    if (!outcome) return true;
    const { name } = payload;
    if (event === "unsubscribe_events") {
      held.delete(name);
      left.delete(name);
    } else if (outcome.error) {
      this.#refuse(new Map([[name, payload.filter]]), outcome.error);
    } else {
      held.set(name, payload.filter);
    }
    return true;
  }

  /** What became of a call; undefined, after a pause, when it is to be made again. */
  async #try(asked: Promise<unknown>): Promise<Outcome | undefined> {
    const answer = await asked;
    const failure = parseFailure(answer);
    if (!failure) return { answer, error: undefined };
    const { code, message, retryAfterMs } = failure;
    const error = new RequestError(code, message);
    if (!PASSING.has(code)) return { answer, error };
    if (code !== "RATE_LIMITED") this.#request.delayed(error);
    await this.#pause(patienceMs(retryAfterMs));
    return undefined;
  }

  /** Has those refused that are still wanted like this. */
  #refuse(asked: EventFilters, error: RequestError | undefined): void {
    if (!error) return;
    for (const [name, filter] of asked) {
      if (sameFilter(filter, this.#request.wants().get(name))) this.#request.refused(name, error);
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => void this.#request.timer(ms, resolve));
  }
}
