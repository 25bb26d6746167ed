import type { AddressInfo } from "node:net";

import { type WebSocket, WebSocketServer } from "ws";

import { golden } from "./golden.js";

const NAMESPACE = "/market-data,";

/** A call that a client made: its name, its payload, and the number to answer under. */
export interface Made {
  readonly name: string;
  readonly payload: Record<string, unknown>;
  readonly id: string;
}

/** A WebSocket server that speaks the frozen messages of the real one, byte for byte, when a test wants it to. */
export class EngineServer {
  /** The payload of each handshake, as text. */
  readonly handshakes: string[] = [];
  readonly calls: Made[] = [];
  /** The packet with which the next handshakes are answered instead, by its file. */
  refusal = "";
  readonly #server = new WebSocketServer({ port: 0, host: "127.0.0.1", path: "/socket.io/" });
  #socket: WebSocket | undefined;

  constructor() {
    this.#server.on("connection", (socket) => {
      this.#socket = socket;
      // The frozen one was sent over polling, which can be upgraded.
      socket.send(golden("socketio/open.txt").replace('["websocket"]', "[]"));
      socket.on("message", (data) => this.#hear(String(data)));
    });
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  start(): Promise<void> {
    return new Promise((resolve) => (this.#server.address() ? resolve() : this.#server.once("listening", resolve)));
  }

  /** Sends a packet to the client that came last. */
  send(packet: string): void {
    this.#socket?.send(packet);
  }

  /** Answers a call. */
  answer({ id }: Made, payload: unknown): void {
    this.send(`43${NAMESPACE}${id}[${JSON.stringify(payload)}]`);
  }

  /** Breaks the connection. */
  cut(): void {
    this.#socket?.terminate();
  }

  stop(): Promise<void> {
    for (const socket of this.#server.clients) socket.terminate();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }

  #hear(packet: string): void {
    const call = /^42\/market-data,(\d+)(\[.*)$/s.exec(packet);
    if (packet.startsWith(`40${NAMESPACE}`)) {
      this.handshakes.push(packet.slice(2 + NAMESPACE.length));
      if (this.refusal) return this.send(golden(`socketio/${this.refusal}.txt`));
      this.send(golden("socketio/connect.txt"));
      this.send(golden("socketio/connected.txt"));
    } else if (call) {
      const [name, payload] = JSON.parse(call[2] ?? "") as [string, Record<string, unknown>];
      this.calls.push({ name, payload, id: call[1] ?? "" });
    }
  }
}
