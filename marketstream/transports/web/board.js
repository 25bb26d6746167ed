/**
 * The table of best prices: one row a symbol, written once per animation frame.
 *
 * Prices wait in a Map that holds the newest per symbol, so memory and work follow the number of symbols,
 * never the rate. Whatever the server sends is written as text, never as markup.
 */

const QUIET_MS = 30_000; // a symbol without news for so long is marked, unless the server says how it is
const GLOW_MS = 350; // how long a cell stays lit after its value moved
const TICK_MS = 250;
const NONE = "–";

export const byName = new Intl.Collator("en", { numeric: true }).compare;

const formats = new Map();
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

/** A number with a fixed count of decimals, so that a column does not shift when a trailing zero comes. */
function fixed(value, decimals) {
  if (value === null || value === undefined) return NONE;
  if (!formats.has(decimals)) {
    const digits = { minimumFractionDigits: decimals, maximumFractionDigits: decimals };
    formats.set(decimals, new Intl.NumberFormat("en", digits));
  }
  return formats.get(decimals).format(value).replace("-", "−");
}

/** Decimals a price was printed with; JSON drops trailing zeros, so the most seen of a symbol is kept. */
function decimalsOf(side) {
  const [digits, exponent = "0"] = String(side?.price ?? 0).split("e");
  return Math.min(8, Math.max(0, (digits.split(".")[1] ?? "").length - Number(exponent)));
}

/** A duration in the largest unit that fits: "0 s", "59 s", "3 min", "4 h", "12 d". */
export function duration(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

/** A place for text that touches the document only when the text differs from what stands there. */
class Cell {
  #text = document.createTextNode("");
  #glowsUntil = 0;

  constructor(node) {
    this.node = node;
    node.append(this.#text);
  }

  set text(value) {
    if (this.#text.data !== value) this.#text.data = value;
  }

  /** Lights the cell while its value moves; the light goes out by `settle`, not by a timer per cell. */
  glow(direction, now) {
    this.#glowsUntil = now + GLOW_MS;
    if (this.node.dataset.glow !== direction) this.node.dataset.glow = direction;
  }

  settle(now) {
    if (this.#glowsUntil === 0 || now < this.#glowsUntil) return;
    this.#glowsUntil = 0;
    delete this.node.dataset.glow;
  }
}

/** One symbol: its last price, how far that can be trusted, and the nodes that show both. */
class Row {
  #price = null;
  #decimals = 0;
  #heardAt = Date.now();
  #status = null;
  #cells = {};

  constructor(symbol, node, onDrop) {
    this.symbol = symbol;
    this.node = node;
    const places = { name: ".name", bid: ".bid", bidFrom: ".bid-from .source", bidSize: ".bid-from .size",
      ask: ".ask", askFrom: ".ask-from .source", askSize: ".ask-from .size", arrow: ".arrow",
      mid: ".mid .value", spread: ".spread", bps: ".bps", mark: ".mark", age: ".age .value" };
    for (const [name, place] of Object.entries(places)) {
      this.#cells[name] = new Cell(this.node.querySelector(place));
    }
    this.#cells.name.text = symbol;
    this.#cells.name.node.title = symbol;
    this.dropButton = this.node.querySelector(".drop");
    this.dropButton.setAttribute("aria-label", `Remove ${symbol}`);
    this.dropButton.addEventListener("click", () => onDrop(symbol));
    this.#write({ bestBid: null, bestAsk: null, midPrice: null, spread: null, spreadBps: null });
  }

  show(price, now) {
    const before = this.#price;
    this.#price = price;
    this.#heardAt = price.publishedAt;
    // A price that is newer than the bad news is the good news.
    if (this.#status && this.#status.state !== "delayed" && price.timestamp > this.#status.since) this.#status = null;
    this.#decimals = Math.max(this.#decimals, decimalsOf(price.bestBid), decimalsOf(price.bestAsk));
    this.#write(price);
    if (before === null) return;
    this.#move("bid", before.bestBid?.price, price.bestBid?.price, now);
    this.#move("ask", before.bestAsk?.price, price.bestAsk?.price, now);
    const direction = this.#move("mid", before.midPrice, price.midPrice, now);
    if (direction) this.#point(direction);
  }

  judge(status) {
    this.#status = status;
  }

  /** What changes by time alone: the age, the mark, and lights that have to go out. */
  tick(now) {
    for (const name of ["bid", "ask", "mid"]) this.#cells[name].settle(now);
    const quiet = now - this.#heardAt > QUIET_MS ? "stale" : "live";
    const state = this.#price === null && !this.#status ? "waiting" : (this.#status?.state ?? quiet);
    this.#cells.mark.text = state === "live" ? "" : state;
    if (this.node.dataset.state !== state) this.node.dataset.state = state;
    this.#cells.age.text = this.#price === null ? "" : duration(now - this.#price.timestamp);
  }

  #write({ bestBid, bestAsk, midPrice, spread, spreadBps }) {
    const cells = this.#cells;
    cells.bid.text = fixed(bestBid?.price, this.#decimals);
    cells.ask.text = fixed(bestAsk?.price, this.#decimals);
    cells.bidFrom.text = bestBid?.source ?? NONE;
    cells.askFrom.text = bestAsk?.source ?? NONE;
    cells.bidSize.text = bestBid?.size == null ? "" : compact.format(bestBid.size);
    cells.askSize.text = bestAsk?.size == null ? "" : compact.format(bestAsk.size);
    cells.mid.text = fixed(midPrice, this.#decimals + 1);
    cells.spread.text = fixed(spread, this.#decimals + 1);
    cells.bps.text = fixed(spreadBps, 2);
    this.node.classList.toggle("crossed", spread !== null && spread < 0);
  }

  #move(name, before, after, now) {
    if (before == null || after == null || before === after) return null;
    const direction = after > before ? "up" : "down";
    this.#cells[name].glow(direction, now);
    return direction;
  }

  #point(direction) {
    const { arrow } = this.#cells;
    arrow.text = direction === "up" ? "▲" : "▼";
    if (arrow.node.dataset.to === direction) return;
    arrow.node.dataset.to = direction;
    arrow.node.setAttribute("aria-label", direction);
  }
}

/** All rows, in the order of their names; everything that arrives waits here for the next frame. */
export class Board {
  #body;
  #template;
  #onDrop;
  #rows = new Map();
  #prices = new Map();
  #frame = 0;
  #tickDue = false;

  constructor(body, template, onDrop) {
    this.#body = body;
    this.#template = template;
    this.#onDrop = onDrop;
    setInterval(() => this.#tickSoon(), TICK_MS);
  }

  /** Makes the rows those of the given symbols, which come sorted; pinned ones can be removed by hand. */
  sync(symbols, pinned) {
    const wanted = new Set(symbols);
    for (const [symbol, row] of this.#rows) {
      if (wanted.has(symbol)) continue;
      row.node.remove();
      this.#rows.delete(symbol);
      this.#prices.delete(symbol);
    }
    symbols.forEach((symbol, at) => {
      const row = this.#rows.get(symbol) ?? this.#make(symbol);
      row.dropButton.hidden = !pinned.has(symbol);
      // Only what is out of place is moved: a moved row would lose the focus that is inside it.
      if (this.#body.children[at] !== row.node) this.#body.insertBefore(row.node, this.#body.children[at] ?? null);
    });
    this.#tickSoon();
  }

  /** Shows only symbols that contain the text; returns how many those are. */
  filter(text) {
    const rows = [...this.#rows.values()];
    for (const row of rows) row.node.hidden = !row.symbol.includes(text);
    this.#tickSoon();
    return rows.filter((row) => !row.node.hidden).length;
  }

  /** Takes a price for the next frame; one that still waits for the same symbol is replaced. */
  offer(price) {
    this.#prices.set(price.symbol, price);
    this.#schedule();
  }

  /** How far the price of a symbol can be trusted, in the server's words. */
  judge(status) {
    this.#rows.get(status.symbol)?.judge(status);
  }

  #make(symbol) {
    const row = new Row(symbol, this.#template.content.firstElementChild.cloneNode(true), this.#onDrop);
    this.#rows.set(symbol, row);
    return row;
  }

  #tickSoon() {
    this.#tickDue = true;
    this.#schedule();
  }

  #schedule() {
    this.#frame ||= requestAnimationFrame(() => this.#flush());
  }

  #flush() {
    const now = Date.now();
    this.#frame = 0;
    for (const [symbol, price] of this.#prices) this.#rows.get(symbol)?.show(price, now);
    this.#prices.clear();
    if (!this.#tickDue) return;
    this.#tickDue = false;
    for (const row of this.#rows.values()) row.tick(now);
  }
}
