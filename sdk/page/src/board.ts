/**
 * The table of best prices, written once in an animation frame.
 *
 * What arrives waits as a set of symbols, so work follows their number and never the rate. A tab that is
 * not looked at has no frames: the next one after its return shows what is newest then.
 */

import type { BestPrice } from "@marketstream/client";

import { Row } from "./row.js";
import { Sparks } from "./spark.js";
import type { Ticker } from "./store.js";

/** Milliseconds between two looks at what changes by time alone. */
const TICK_MS = 250;
/** Looks for each drawing of the charts where less motion is asked for. */
const CALM = 4;

export interface BoardEvents {
  /** The user wants this symbol gone. */
  remove(symbol: string): void;
  /** The user left the rows upwards, or removed the last one. */
  leave(): void;
  /** These prices are on the screen now. */
  painted(prices: readonly BestPrice[]): void;
}

export class Board {
  readonly #body: HTMLElement;
  readonly #template: HTMLTemplateElement;
  readonly #events: BoardEvents;
  readonly #rows = new Map<string, Row>();
  readonly #touched = new Set<string>();
  readonly #sparks = new Sparks();
  readonly #calm = matchMedia("(prefers-reduced-motion: reduce)");
  readonly #painted = new MessageChannel();
  #waiting: BestPrice[] = [];
  #current: Row | undefined;
  #frame = 0;
  #tickDue = false;
  #ticks = 0;

  constructor(body: HTMLElement, template: HTMLTemplateElement, events: BoardEvents) {
    this.#body = body;
    this.#template = template;
    this.#events = events;
    body.addEventListener("keydown", (event) => this.#press(event));
    body.addEventListener("click", ({ target }) => {
      const row = (target as Element).closest(".remove") && this.#rowOf(target as Element);
      if (row) this.#drop(row);
    });
    body.addEventListener("focusin", ({ target }) => this.#reach(this.#rowOf(target as Element)));
    // A message is delivered after the frame in which it was sent has been painted.
    this.#painted.port1.onmessage = () => events.painted(this.#waiting.splice(0));
    setInterval(() => document.hidden || this.#tickSoon(), TICK_MS);
    document.addEventListener("visibilitychange", () => this.#tickSoon());
  }

  /** Makes the rows those of the given tickers, in that order. */
  sync(tickers: Iterable<Ticker>): void {
    const wanted = new Set(tickers);
    for (const row of this.#rows.values()) if (!wanted.has(row.ticker)) this.#forget(row);
    let place = this.#body.firstElementChild;
    for (const ticker of wanted) {
      const row = this.#rows.get(ticker.symbol) ?? this.#make(ticker);
      // Only what is out of place is moved: a moved row would lose the focus that is inside it.
      if (row.node === place) place = place.nextElementSibling;
      else this.#body.insertBefore(row.node, place);
    }
    this.#reach(this.#current);
    this.#tickSoon();
  }

  /** Shows only symbols that contain the text; returns how many those are. */
  filter(text: string): number {
    for (const row of this.#rows.values()) row.node.hidden = !row.ticker.symbol.includes(text);
    this.#reach(this.#current);
    return this.#visible.length;
  }

  /** The symbol has something new to show. */
  touch(symbol: string): void {
    this.#touched.add(symbol);
    this.#schedule();
  }

  /** Puts the focus on a row: the one that had it last, or the first. */
  enter(): void {
    this.#current?.node.focus();
  }

  get #visible(): Row[] {
    return [...this.#body.children].map((node) => this.#rowOf(node)).filter((row) => row && !row.node.hidden) as Row[];
  }

  #rowOf(target: Element): Row | undefined {
    return this.#rows.get(target.closest<HTMLElement>("[data-symbol]")?.dataset["symbol"] ?? "");
  }

  #make(ticker: Ticker): Row {
    const row = new Row(ticker, this.#template);
    this.#rows.set(ticker.symbol, row);
    this.#sparks.add(row.chart, ticker);
    this.touch(ticker.symbol);
    return row;
  }

  #forget(row: Row): void {
    this.#sparks.remove(row.chart);
    this.#rows.delete(row.ticker.symbol);
    row.node.remove();
  }

  /** Exactly one row that is shown can be reached by Tab. */
  #reach(wish: Row | undefined): void {
    const visible = this.#visible;
    const next = wish && visible.includes(wish) ? wish : visible[0];
    for (const row of this.#rows.values()) row.reachable = row === next;
    this.#current = next;
  }

  #press(event: KeyboardEvent): void {
    const row = this.#rowOf(event.target as Element);
    if (!row || event.altKey || event.ctrlKey || event.metaKey) return;
    const visible = this.#visible;
    const at = visible.indexOf(row);
    const goals: Record<string, number> = { ArrowUp: at - 1, ArrowDown: at + 1, Home: 0, End: visible.length - 1 };
    const goal = goals[event.key];
    if (goal !== undefined) {
      event.preventDefault();
      if (goal < 0) this.#events.leave();
      else visible[goal]?.node.focus();
    } else if (event.key === "Delete" || (event.key === "Backspace" && event.target === row.node)) {
      event.preventDefault();
      this.#drop(row);
    }
  }

  /** Has a symbol removed; the focus goes to its neighbour. */
  #drop(row: Row): void {
    const visible = this.#visible;
    const at = visible.indexOf(row);
    const next = visible[at + 1] ?? visible[at - 1];
    this.#events.remove(row.ticker.symbol);
    if (next) next.node.focus();
    else this.#events.leave();
  }

  #tickSoon(): void {
    this.#tickDue = true;
    this.#schedule();
  }

  #schedule(): void {
    this.#frame ||= requestAnimationFrame(() => this.#flush());
  }

  #flush(): void {
    const now = Date.now();
    this.#frame = 0;
    for (const symbol of this.#touched) {
      const price = this.#rows.get(symbol)?.show(now);
      if (price) this.#waiting.push(price);
    }
    this.#touched.clear();
    if (this.#waiting.length > 0) this.#painted.port2.postMessage(null);
    if (this.#tickDue) this.#tick(now);
  }

  #tick(now: number): void {
    this.#tickDue = false;
    this.#ticks += 1;
    for (const row of this.#rows.values()) row.tick(now);
    if (!this.#calm.matches || this.#ticks % CALM === 0) this.#sparks.draw(now);
  }
}
