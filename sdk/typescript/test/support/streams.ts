import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

import type { BestPrice } from "../../src/core/model.js";

/** One request for a stream, and what can be sent on it. */
export interface Opened {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage["headers"];
  readonly response: ServerResponse;
  /** What came with the request, as text. */
  body: string;
  /** Other streams that were open at the time. */
  readonly beside: number;
  /** Whether the client has gone. */
  gone: boolean;
}

interface Refusal {
  readonly status: number;
  readonly code: string;
  readonly message?: string;
  readonly headers?: Record<string, string>;
}

/** An HTTP server that opens event streams and says on them what a test wants. */
export class StreamServer {
  readonly opened: Opened[] = [];
  /** Answers to the next requests, instead of a stream; undefined opens one. */
  refusals: (Refusal | undefined)[] = [];
  /** What every other request is answered with. */
  body: unknown = {};
  /** While true, requests are noted and not answered. */
  deaf = false;
  readonly #server: Server;

  constructor() {
    this.#server = createServer((request, response) => this.#take(request, response));
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** The stream that was opened last. */
  get latest(): Opened {
    const last = this.opened.at(-1);
    if (!last) throw new Error("nobody has asked for a stream");
    return last;
  }

  start(): Promise<void> {
    return new Promise((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
  }

  stop(): Promise<void> {
    this.#server.closeAllConnections();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }

  /** Sends a price with its id, on the stream that was opened last. */
  price(price: BestPrice, cursor: number): void {
    this.latest.response.write(`event: price\nid: ${price.symbol}-${price.timestamp}@${cursor}\ndata: ${JSON.stringify(price)}\n\n`);
  }

  /** Sends any other event. */
  event(name: string, payload: unknown): void {
    this.latest.response.write(`event: ${name}\ndata: ${JSON.stringify(payload)}\n\n`);
  }

  #take(request: IncomingMessage, response: ServerResponse): void {
    const { pathname, searchParams } = new URL(request.url ?? "", "http://x");
    const beside = this.opened.filter(({ gone }) => !gone).length;
    const { method = "", headers } = request;
    const opened: Opened = { method, path: pathname, query: searchParams, headers, response, body: "", beside, gone: false };
    request.on("data", (piece) => (opened.body += String(piece)));
    response.on("close", () => (opened.gone = true));
    this.opened.push(opened);
    const refusal = this.refusals.shift();
    if (this.deaf) return;
    if (refusal) {
      const { status, code, message = code, headers: extra } = refusal;
      response.writeHead(status, extra).end(JSON.stringify({ error: { code, message } }));
    } else if (pathname.endsWith("/stream")) {
      response.writeHead(200, { "Content-Type": "text/event-stream" }).write("retry: 3000\n\n");
    } else {
      response.writeHead(200).end(JSON.stringify(this.body));
    }
  }
}
