/**
 * The live page: what an ordinary client sees of this server, drawn without a library.
 *
 * It finds out which symbols there are, follows them over one stream, and hands what arrives to the table.
 */

import { Board, byName, duration } from "./board.js";
import { Stream, getJson, wait } from "./stream.js";

const MAX_SYMBOLS = 100; // what the plan of a development token allows one connection
const SYMBOL = /^[A-Z0-9.\-_/=^:]{1,32}$/;

const $ = (id) => document.getElementById(id);

/** Updates a second and their latency, smoothed over a few seconds. */
class Meter {
  #count = 0;
  #lag = 0;
  #lagged = 0;
  #smooth = null;
  #since = performance.now();
  #met = new Set();

  constructor() {
    setInterval(() => this.#show(), 1000);
  }

  /** A new connection starts with stored values: their age says nothing about the way here. */
  restart() {
    this.#met.clear();
  }

  count(price) {
    this.#count += 1;
    if (!this.#met.has(price.symbol)) {
      this.#met.add(price.symbol);
      return;
    }
    this.#lag += Date.now() - price.timestamp;
    this.#lagged += 1;
  }

  #show() {
    const now = performance.now();
    $("rate").textContent = Math.round((this.#count * 1000) / (now - this.#since));
    if (this.#lagged > 0) {
      const mean = this.#lag / this.#lagged;
      this.#smooth = this.#smooth === null ? mean : this.#smooth + 0.3 * (mean - this.#smooth);
      const short = this.#smooth < 1 ? "< 1 ms" : `${Math.round(this.#smooth)} ms`;
      $("latency").textContent = this.#smooth < 10_000 ? short : duration(this.#smooth);
    }
    this.#since = now;
    this.#count = this.#lag = this.#lagged = 0;
  }
}

const found = new Set(); // what the feeds have produced
const pinned = new Set(); // what the user asked for; kept in the address, so that it can be shared
let followed = [];
let paused = false; // by the user: nothing but the user ends that

const meter = new Meter();
const board = new Board($("rows"), $("row"), (symbol) => { pinned.delete(symbol); apply(); $("query").focus(); });
const stream = new Stream({
  price(price) { meter.count(price); board.offer(price); },
  status(status) { board.judge(status); },
  error(text) { $("note").textContent = text; },
  state(state, reason) {
    if (state === "live") meter.restart();
    document.body.dataset.state = state;
    $("pause").textContent = state === "closed" ? "Resume" : "Pause";
    // Written only when it differs: a live region is read aloud on every write.
    if ($("state").textContent !== state) $("state").textContent = state;
    if ($("reason").textContent !== reason) $("reason").textContent = reason;
  },
});

/** Brings table, stream, examples and address in line with the symbols that are wanted now. */
function apply() {
  const all = [...new Set([...pinned, ...found])];
  const wanted = all.slice(0, MAX_SYMBOLS).sort(byName);
  $("note").textContent = all.length > MAX_SYMBOLS ? `${MAX_SYMBOLS} of ${all.length} symbols: the plan's limit` : "";
  board.sync(wanted, pinned);
  filter(wanted.length);
  history.replaceState(null, "", pinned.size > 0 ? `#${[...pinned].join(",")}` : location.pathname);
  if (wanted.join() === followed.join()) return;
  followed = wanted;
  fillExamples(wanted.slice(0, 2).join() || "EUR/USD");
  if (!paused) stream.follow(wanted);
}

function filter(total) {
  const text = $("query").value.trim().toUpperCase();
  const shown = board.filter(text);
  $("count").textContent = text ? `${shown} of ${total}` : total;
  $("empty").hidden = shown > 0;
  $("empty").textContent = total > 0
    ? `No symbol here contains “${text}”. Add asks the server for it.`
    : "No symbol yet. Prices appear here as soon as a feed sends one.";
}

/** Upper-cased symbols of a text, which may name several. */
const parse = (text) => text.toUpperCase().split(/[\s,]+/).filter(Boolean);

function readAddress() {
  pinned.clear();
  // Unlike decodeURIComponent this takes any text: an address may be typed by hand.
  const text = new URLSearchParams(`symbols=${location.hash.slice(1)}`).get("symbols");
  for (const symbol of parse(text)) if (SYMBOL.test(symbol)) pinned.add(symbol);
}

function add(event) {
  event.preventDefault();
  const symbols = parse($("query").value);
  const wrong = symbols.find((symbol) => !SYMBOL.test(symbol));
  $("query").setAttribute("aria-invalid", String(wrong !== undefined));
  if (wrong !== undefined) {
    $("note").textContent = `${wrong}: a symbol is 1 to 32 of A-Z 0-9 . - _ / = ^ :`;
    return;
  }
  for (const symbol of symbols) if (!found.has(symbol)) pinned.add(symbol);
  $("query").value = "";
  apply();
}

function togglePause() {
  paused = document.body.dataset.state !== "closed";
  if (paused) stream.stop("closed", "paused by you");
  else stream.follow(followed);
}

/** Looks for what the feeds produce: every second until there is something, then now and then. */
async function discover() {
  for (;;) {
    const before = found.size;
    const { symbols } = await getJson("/dev/symbols").catch(() => ({ symbols: [] })); // the state says so already
    for (const symbol of symbols) found.add(symbol);
    if (found.size > before) apply();
    await wait(found.size > 0 ? 5000 : 1000);
  }
}

const examples = new Map([...document.querySelectorAll("pre code")].map((code) => [code, code.textContent]));

function fillExamples(symbols) {
  for (const [code, template] of examples) {
    code.textContent = template.replaceAll("ORIGIN", location.origin).replaceAll("SYMBOLS", symbols);
  }
}

async function copy({ currentTarget: button }) {
  const code = $(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = "Copied";
  } catch {
    // Without the right to the clipboard the text is selected, one keystroke from being copied.
    getSelection().selectAllChildren(code);
    button.textContent = "Selected";
  }
  await wait(1500);
  button.textContent = "Copy";
}

$("find").addEventListener("submit", add);
$("query").addEventListener("input", () => {
  if ($("query").getAttribute("aria-invalid") === "true") $("note").textContent = "";
  $("query").removeAttribute("aria-invalid");
  filter(followed.length);
});
$("pause").addEventListener("click", togglePause);
for (const button of document.querySelectorAll("[data-copy]")) button.addEventListener("click", copy);
addEventListener("hashchange", () => { readAddress(); apply(); });

fillExamples("EUR/USD");
stream.follow(followed);
readAddress();
apply();
discover();
