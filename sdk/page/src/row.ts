/** One line of the watchlist: writes what a ticker knows into cells that never change their place. */

import type { BestPrice, Side } from "@marketstream/client";

import { Cell, mark, type Move, moved } from "./cell.js";
import { duration, fixed, NONE, padded, percent, size } from "./format.js";
import type { Ticker } from "./store.js";

const ARROWS = { up: "▲", down: "▼" } as const;

export class Row {
  readonly ticker: Ticker;
  readonly node: HTMLElement;
  readonly chart: HTMLElement;
  readonly #cells;
  readonly #remove: HTMLButtonElement;
  #shown: BestPrice | undefined;

  constructor(ticker: Ticker, template: HTMLTemplateElement) {
    this.ticker = ticker;
    const content = template.content.cloneNode(true) as DocumentFragment;
    this.node = content.firstElementChild as HTMLElement;
    const cell = (place: string): Cell => new Cell(this.node, place);
    this.#cells = {
      name: cell(".name"),
      change: cell(".change"),
      bid: cell(".bid .value"),
      bidSource: cell(".bid-from .source"),
      bidSize: cell(".bid-from .size"),
      ask: cell(".ask .value"),
      askSource: cell(".ask-from .source"),
      askSize: cell(".ask-from .size"),
      arrow: cell(".arrow"),
      mid: cell(".mid .value"),
      spread: cell(".spread .value"),
      bps: cell(".bps .value"),
      mark: cell(".mark"),
      age: cell(".age .since"),
    };
    this.chart = this.node.querySelector(".chart") as HTMLElement;
    this.#remove = this.node.querySelector(".remove") as HTMLButtonElement;
    this.#remove.setAttribute("aria-label", `Remove ${ticker.symbol}`);
    this.node.dataset["symbol"] = this.#cells.name.text = ticker.symbol;
    this.#cells.name.node.title = ticker.symbol;
    this.tick(0);
  }

  /** Whether this is the row that the Tab key goes to; all others are reached by arrows. */
  set reachable(value: boolean) {
    this.node.tabIndex = this.#remove.tabIndex = value ? 0 : -1;
  }

  /** Shows the newest price; returns it when it was not on the screen before. */
  show(now: number): BestPrice | undefined {
    const { price } = this.ticker;
    const before = this.#shown;
    if (!price || price === before) return undefined;
    this.#shown = price;
    this.#write(price);
    this.#judge();
    this.#move("bid", moved(before?.bestBid?.price, price.bestBid?.price), now);
    this.#move("ask", moved(before?.bestAsk?.price, price.bestAsk?.price), now);
    this.#point(this.#move("mid", moved(before?.midPrice, price.midPrice), now));
    return price;
  }

  /** What changes by time alone: age, trust, the change of two minutes, and lights that have to go out. */
  tick(now: number): void {
    const cells = this.#cells;
    for (const cell of [cells.bid, cells.ask, cells.mid]) cell.settle(now);
    this.#judge();
    const { price, history } = this.ticker;
    cells.age.text = price ? duration(now - price.timestamp) : "";
    const { change } = history;
    cells.change.text = padded(percent(change), 8);
    mark(cells.change.node, "sign", change === undefined ? "" : String(Math.sign(Number(change.toFixed(2)))));
  }

  #judge(): void {
    const { trust } = this.ticker;
    mark(this.node, "trust", trust);
    this.#cells.mark.text = trust === "live" ? "" : trust;
  }

  #write({ bestBid, bestAsk, midPrice, spread, spreadBps }: BestPrice): void {
    const cells = this.#cells;
    const { decimals } = this.ticker;
    cells.bid.text = fixed(bestBid?.price, decimals);
    cells.ask.text = fixed(bestAsk?.price, decimals);
    source(cells.bidSource, cells.bidSize, bestBid);
    source(cells.askSource, cells.askSize, bestAsk);
    cells.mid.text = fixed(midPrice, decimals + 1);
    cells.spread.text = padded(fixed(spread, decimals + 1), decimals + 4);
    cells.bps.text = padded(fixed(spreadBps, 2), 5);
    this.node.classList.toggle("crossed", spread !== null && spread < 0);
  }

  #move(name: "bid" | "ask" | "mid", move: Move | undefined, now: number): Move | undefined {
    if (move) this.#cells[name].glow(move, now);
    return move;
  }

  #point(move: Move | undefined): void {
    const { arrow } = this.#cells;
    if (!move || arrow.node.dataset["to"] === move) return;
    arrow.text = ARROWS[move];
    arrow.node.dataset["to"] = move;
    arrow.node.setAttribute("aria-label", move);
  }
}

function source(name: Cell, amount: Cell, side: Side | null): void {
  name.text = side?.source ?? NONE;
  amount.text = size(side?.size);
}
