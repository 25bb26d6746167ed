import { io, type ManagerOptions, type Socket, type SocketOptions } from "socket.io-client";

import { RequestError, TransportError } from "../core/errors.js";
import { fields, parseError, parseFailure } from "../core/message.js";
import { Synchronizer } from "../core/synchronizer.js";
import type { EventLink, Link, OpenRequest, Transport } from "../transport.js";

/** How Socket.IO is spoken. */
export interface SocketIoOptions {
  /** Where Engine.IO is below the server's URL; default `/socket.io/`. */
  readonly path?: string;
  /** Default `["websocket"]`; add `"polling"` where WebSockets do not get through. */
  readonly transports?: ("websocket" | "polling")[];
  /** Milliseconds until the server must have admitted a client; default 10 s. */
  readonly connectTimeoutMs?: number;
  /**
   * Milliseconds until a call must be answered; after that it has failed. One that says what the server shall send
   * takes the connection with it. Default 10 s.
   */
  readonly ackTimeoutMs?: number;
}

const NAMESPACE = "/market-data";

/** The default transport: Socket.IO, with all there is. */
export function socketio(options: SocketIoOptions = {}): Transport {
  return {
    every: true,
    channels: true,
    open: (request) => new Promise((resolve, reject) => new SocketIoLink(options, request, resolve, reject)),
  };
}

/** One connection of socket.io-client, whose own reconnecting is off. */
class SocketIoLink implements Link {
  readonly #request: OpenRequest;
  readonly #socket: Socket;
  readonly #ackTimeoutMs: number;
  readonly #waiting = new Set<(error: Error) => void>();
  readonly #synchronizer: Synchronizer;
  #open = false;
  #over = false;

  constructor(
    options: SocketIoOptions,
    request: OpenRequest,
    opened: (link: Link) => void,
    failed: (cause: TransportError) => void,
  ) {
    const { connectTimeoutMs = 10_000, ackTimeoutMs = 10_000 } = options;
    this.#request = request;
    this.#ackTimeoutMs = ackTimeoutMs;
    this.#synchronizer = new Synchronizer(request, (event, payload) => this.#settle(event, payload));
    const { origin, pathname } = new URL(request.url);
    // Whatever stands behind the host is a namespace to socket.io-client: the server's own path goes in front of Engine.IO's.
    this.#socket = io(origin + NAMESPACE, managerOptions(options, pathname.replace(/\/+$/, ""), request.token));
    const fail = (cause: TransportError): void => {
      late();
      this.#end(cause);
      failed(cause);
    };
    const late = request.timer(connectTimeoutMs, () => fail(new TransportError("TIMEOUT", "the server did not admit us in time")));
    request.signal.addEventListener("abort", () => fail(new TransportError("CLOSED", "not wanted any more")), { once: true });
    this.#socket.on("connect", () => {
      late();
      this.#open = true;
      opened(this);
    });
    this.#socket.on("connect_error", (error) => fail(refusal(error)));
    this.#socket.on("disconnect", (reason, details) => this.#end(ending(reason, details)));
    this.#socket.onAny((name: string, payload: unknown) => this.#hear(name, payload));
  }

  sync(): Promise<void> {
    return this.#synchronizer.run();
  }

  async authenticate(token: string): Promise<void> {
    this.#require(await this.#call("authenticate", { token }));
    // The new token may cover less; what ended is asked for again, so that its callers hear why.
    const { symbols, channels } = fields(await this.#call("subscriptions", {}));
    if (!Array.isArray(symbols) || !Array.isArray(channels)) return;
    this.#synchronizer.keep(new Set([...symbols.map((entry) => fields(entry)["symbol"]), ...channels] as string[]));
    await this.sync();
  }

  async getQuote(symbol: string): Promise<unknown> {
    return this.#require(await this.#call("get_quote", { symbol }));
  }

  /** Socket.IO brings events anyway. */
  events(): EventLink {
    return { call: (event, payload) => this.#call(event, payload).catch(asAnswer), listen: () => Promise.resolve() };
  }

  close(): void {
    this.#over = true;
    this.#finish(new TransportError("CLOSED", "the client was closed"));
  }

  #hear(name: string, payload: unknown): void {
    if (this.#over) return;
    if (name === "error" && fields(payload)["code"] === "TOKEN_EXPIRED") {
      this.#end(new TransportError("TOKEN_EXPIRED", parseError(payload, name).message));
    } else {
      this.#request.event(name, payload);
    }
  }

  #call(event: string, payload: object): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.#over) return reject(new TransportError("CLOSED", "the connection is gone"));
      const settle = (): void => {
        late();
        this.#waiting.delete(fail);
      };
      const fail = (error: Error): void => (settle(), reject(error));
      const late = this.#request.timer(this.#ackTimeoutMs, () => {
        fail(new RequestError("TIMEOUT", `the server did not answer ${event} in time`));
      });
      this.#waiting.add(fail);
      this.#socket.emit(event, payload, (answer: unknown) => (settle(), resolve(answer)));
    });
  }

  /** Makes a call that says what the server shall send: without an answer nobody knows, and it is over. */
  async #settle(event: string, payload: object): Promise<unknown> {
    try {
      return await this.#call(event, payload);
    } catch (error) {
      const { code, message } = error as RequestError;
      this.#end(new TransportError(code, message));
      throw error;
    }
  }

  #require(answer: unknown): unknown {
    const failure = parseFailure(answer);
    if (failure) throw new RequestError(failure.code, failure.message);
    return answer;
  }

  #end(cause: TransportError): void {
    if (this.#over) return;
    this.#over = true;
    this.#finish(cause);
    if (this.#open) this.#request.lost(cause);
  }

  #finish(cause: TransportError): void {
    this.#socket.disconnect();
    for (const fail of [...this.#waiting]) fail(cause);
  }
}

/** A call that was not answered, as an answer; rejects with whatever else went wrong. */
function asAnswer(error: unknown): { error: string; code: string } {
  if (error instanceof RequestError) return { error: error.message, code: error.code };
  throw error;
}

function managerOptions(
  options: SocketIoOptions,
  prefix: string,
  token: string | undefined,
): Partial<ManagerOptions & SocketOptions> {
  const { path = "/socket.io/", transports = ["websocket"], connectTimeoutMs: timeout = 10_000 } = options;
  const auth = token === undefined ? {} : { token };
  return { path: prefix + path, transports, auth, timeout, reconnection: false, forceNew: true };
}

/** Why a handshake failed: the server's word, or that it could not be reached. */
function refusal(error: Error): TransportError {
  const { data } = error as { data?: unknown };
  return new TransportError(parseError(data, "UNREACHABLE").code, error.message);
}

/** Why a connection ended. Only the application itself ends it within the protocol, and then it means it. */
function ending(reason: string, details: unknown): TransportError {
  if (reason === "io server disconnect") return new TransportError("DISCONNECTED", "the server ended our stay");
  const { description } = fields(details);
  const { code } = fields(fields(description));
  return new TransportError("LOST", typeof code === "number" ? `${reason} (${code})` : reason);
}
