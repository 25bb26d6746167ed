/** The state of the connection in words, and the figures beside it. */

import type { ConnectionState } from "@marketstream/client";

import { latency } from "./format.js";
import type { Meter } from "./meter.js";

/** What a state is called here, and what the button beside it does then. */
const WORDS: Record<ConnectionState, readonly [word: string, button: string]> = {
  idle: ["Waiting", ""],
  connecting: ["Connecting", "Pause"],
  connected: ["Live", "Pause"],
  reconnecting: ["Reconnecting", "Try now"],
  closed: ["Paused", "Resume"],
  failed: ["Disconnected", "Try again"],
};

/** Milliseconds between two readings of the meter. */
const READ_MS = 1_000;

export class StatusBar {
  readonly #word = place("state");
  readonly #reason = place("reason");
  readonly #button = place("pause");

  constructor(meter: Meter) {
    const [rate, delay] = [place("rate"), place("latency")];
    setInterval(() => {
      const read = meter.read(performance.now());
      rate.textContent = String(Math.round(read.rate));
      delay.textContent = latency(read.latency);
    }, READ_MS);
  }

  /** Says a state and the reason for it. */
  show(state: ConnectionState, reason: string): void {
    const [word, button] = WORDS[state];
    document.body.dataset["state"] = state;
    write(this.#word, word);
    write(this.#reason, reason);
    write(this.#button, button);
  }
}

export function place(id: string): HTMLElement {
  const node = document.getElementById(id);
  if (!node) throw new Error(`the page has no #${id}`);
  return node;
}

/** A live region is read aloud on every write, so only what differs is written. */
function write(node: HTMLElement, text: string): void {
  if (node.textContent !== text) node.textContent = text;
}
