/** The panel of what happened: the newest at the bottom, where it stays in sight unless somebody scrolls up. */

import { timeOfDay } from "./format.js";
import { describe, type Entry, EventLog, type Kind } from "./log.js";

export class LogView {
  readonly #list: HTMLElement;
  readonly #log = new EventLog();
  readonly #nodes = new Map<Entry, HTMLElement>();

  constructor(list: HTMLElement) {
    this.#list = list;
  }

  add(kind: Kind, text: string, name?: string): void {
    this.#log.add(Date.now(), kind, text, name);
    this.#show();
  }

  clear(): void {
    this.#log.clear();
    this.#show();
  }

  #show(): void {
    const list = this.#list;
    const follows = list.scrollTop + list.clientHeight >= list.scrollHeight - 4;
    const entries = new Set(this.#log.entries);
    for (const [entry, node] of this.#nodes) {
      if (entries.has(entry)) continue;
      node.remove();
      this.#nodes.delete(entry);
    }
    for (const entry of entries) if (!this.#nodes.has(entry)) this.#append(entry);
    if (follows) list.scrollTop = list.scrollHeight;
  }

  #append(entry: Entry): void {
    const node = document.createElement("li");
    node.dataset["kind"] = entry.kind;
    const time = document.createElement("time");
    time.dateTime = new Date(entry.at).toISOString();
    time.textContent = timeOfDay(entry.at);
    const text = document.createElement("span");
    text.textContent = describe(entry);
    node.append(time, text);
    this.#nodes.set(entry, node);
    this.#list.append(node);
  }
}
