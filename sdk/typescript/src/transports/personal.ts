import { TransportError } from "../core/errors.js";
import { fields } from "../core/message.js";
import type { StreamEvent } from "../core/eventstream.js";
import type { EventLink } from "../transport.js";
import { parseJson, refusalOf, STREAM_OR_ERROR } from "./answer.js";

/** What is read of a stream. */
export type Body = ReadableStreamDefaultReader<Uint8Array>;

/** The connection, as the stream needs it. */
export interface Door {
  /** What is to be aborted when the connection ends. */
  readonly aborts: Set<AbortController>;
  readonly closed: boolean;
  /** The stream that brings prices, while there is one. */
  readonly stream: object | undefined;
  /** Requests, and waits for the head of the answer. */
  send(path: string, init: RequestInit, abort?: AbortController): Promise<Response>;
  /** Reads a stream to its end; resolves with why it ended. */
  read(body: Body, abort: AbortController, hear: (event: StreamEvent) => unknown): Promise<TransportError>;
  /** Takes what a stream brings. */
  take(name: string, payload: unknown): void;
  /** Ends the connection. */
  end(cause: TransportError): void;
}

const PREFIX = "/api/v1/events";

/**
 * Events over HTTP: a stream of its own brings them, and what is wanted is said by requests.
 *
 * Refusals of the token, and of a server that cannot be reached, end the whole connection; others are answers.
 */
export class PersonalStream implements EventLink {
  readonly #door: Door;
  #stream: AbortController | undefined;

  constructor(door: Door) {
    this.#door = door;
  }

  async call(event: string, payload: object): Promise<unknown> {
    const { name, filter } = fields(payload);
    const quoted = quote(String(name));
    if (quoted === undefined) return { error: "it is no text", code: "INVALID_MESSAGE" };
    const one = `/subscriptions/${quoted}`;
    switch (event) {
      case "subscribe_events": {
        const headers = { "Content-Type": "application/json" };
        return this.#answer(await this.#send(one, { method: "PUT", headers, body: JSON.stringify(filter) }));
      }
      case "unsubscribe_events":
        return this.#answer(await this.#send(one, { method: "DELETE" }));
      default:
        return this.#answer(await this.#send("/subscriptions", {}));
    }
  }

  async listen(wanted: boolean): Promise<unknown> {
    if (wanted) return this.#stream ? {} : this.#open();
    this.#drop();
    return {};
  }

  /** Goes on under the token that the door has now, if there is a stream. */
  async renew(): Promise<void> {
    if (this.#stream) await this.#open();
  }

  /** Opens a stream and lets it take the place of the one there is. */
  async #open(): Promise<unknown> {
    const abort = new AbortController();
    const response = await this.#send("/stream", { headers: { Accept: STREAM_OR_ERROR } }, abort);
    if (!response.ok || !response.body) return this.#answer(response);
    this.#drop();
    if (this.#door.closed) throw abandoned(abort);
    this.#stream = abort;
    this.#door.aborts.add(abort);
    void this.#read(response.body.getReader(), abort);
    return {};
  }

  async #read(body: Body, abort: AbortController): Promise<void> {
    const cause = await this.#door.read(body, abort, (event) => abort === this.#stream && this.#hear(event));
    if (abort === this.#stream) this.#door.end(cause);
  }

  #hear({ name, data }: StreamEvent): void {
    // Where there are two streams, each announces the end of their token.
    if (name !== "token_expiring" || !this.#door.stream) this.#door.take(name, parseJson(data));
  }

  async #send(path: string, init: RequestInit, abort?: AbortController): Promise<Response> {
    try {
      return await this.#door.send(PREFIX + path, init, abort);
    } catch (error) {
      this.#door.end(error as TransportError);
      throw error;
    }
  }

  /** What a call over Socket.IO would be answered. */
  async #answer(response: Response): Promise<unknown> {
    if (response.ok) return response.json().catch(() => undefined);
    const refusal = await refusalOf(response);
    if (response.status === 401) {
      this.#door.end(refusal);
      throw refusal;
    }
    const { code, message, retryAfterMs } = refusal;
    return { error: message, code, retryAfterMs };
  }

  #drop(): void {
    if (this.#stream) this.#door.aborts.delete(this.#stream);
    this.#stream?.abort();
    this.#stream = undefined;
  }
}

/** A name as part of a path; undefined when it is no text, such as half of an emoji. */
function quote(name: string): string | undefined {
  try {
    return encodeURIComponent(name);
  } catch {
    return undefined;
  }
}

function abandoned(abort: AbortController): TransportError {
  abort.abort();
  return new TransportError("CLOSED", "the connection is gone");
}
