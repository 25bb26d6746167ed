/** The live page: an ordinary client of this server. Everything meets here, and nothing is decided elsewhere. */

import { AuthenticationError, type BestPrice, type ConnectionState } from "@marketstream/client";

import "./style.css";
import { Board } from "./board.js";
import { Examples } from "./examples.js";
import { FindField } from "./find.js";
import { LogView } from "./logview.js";
import { Meter } from "./meter.js";
import { Session } from "./session.js";
import { place, StatusBar } from "./status.js";
import { Watchlist } from "./store.js";
import { byName, readAddress, writeAddress } from "./symbols.js";
import { TokenField } from "./token.js";

/** What the plan of a development token allows one connection; what was found beyond it is not asked for. */
const MAX_FOUND = 100;
/** Milliseconds between two looks for symbols: before there is one, and later. */
const LOOK_MS = [1_000, 15_000] as const;

const { mode, path = "/socket.io/" } = document.documentElement.dataset;
/** Where the server is: the page may stand below a path of a proxy's. */
const base = new URL(".", location.href);
const dev = mode === "dev";

const watchlist = new Watchlist();
const meter = new Meter(performance.now());
const status = new StatusBar(meter);
const log = new LogView(place("events"));
const examples = new Examples(place("try"), base.href.replace(/\/$/, ""), dev);
const count = place("count");
const empty = place("empty");

const board = new Board(place("rows"), place("row") as HTMLTemplateElement, {
  remove: (symbol) => {
    watchlist.remove(symbol);
    log.add("note", "removed", symbol);
    changed();
  },
  leave: () => find.focus(),
  painted: (prices: readonly BestPrice[]) => meter.painted(prices, Date.now()),
});

const find = new FindField(place("find") as HTMLFormElement, place("note"), {
  filter: () => showCount(),
  add: (symbols) => {
    for (const symbol of watchlist.add(symbols)) log.add("note", "added", symbol);
    changed();
  },
  down: () => board.enter(),
});

const session = new Session(
  { url: base.href, path, getToken: dev ? developmentToken : undefined },
  {
    price: (price) => {
      meter.arrived();
      watchlist.get(price.symbol)?.take(price, Date.now());
      board.touch(price.symbol);
    },
    status: (news) => {
      watchlist.get(news.symbol)?.judge(news);
      log.add("status", news.state, news.symbol);
    },
    lagged: ({ symbol, missed }) => log.add("error", `${missed} values missed`, symbol),
    state: showState,
    refused: (symbol, reason) => {
      log.add("error", reason, symbol);
      watchlist.remove(symbol);
      changed();
      find.say(`${symbol}: ${reason}`);
    },
    error: (error) => log.add("error", error.message),
  },
);

const token = new TokenField(place("token") as HTMLFormElement, {
  given: (given) => session.open(given),
  forgotten: () => {
    session.close();
    log.add("note", "token forgotten");
    showState("idle", undefined);
  },
});

function showState(state: ConnectionState, error: Error | undefined): void {
  const now = Date.now();
  // A new connection tells what is not live; a lost one leaves a gap in the charts.
  for (const ticker of watchlist.tickers) {
    if (state === "connected") ticker.judge(undefined);
    else ticker.history.cut(now);
  }
  if (state === "connected") meter.restart();
  if (!dev && error instanceof AuthenticationError) return refuseToken(error);
  const reason = error?.message ?? (state === "idle" && !dev ? "a token is needed" : "");
  status.show(state, reason);
  log.add(state === "failed" ? "error" : "state", reason ? `${state}: ${reason}` : state);
}

function refuseToken(error: AuthenticationError): void {
  log.add("error", `token refused: ${error.message}`);
  token.forget(`The server refused this token: ${error.message}.`);
  session.close();
  showState("idle", undefined);
}

/** Brings table, subscriptions, examples and address in line with the watchlist. */
function changed(): void {
  const { symbols } = watchlist;
  board.sync(watchlist.tickers);
  session.watch(symbols);
  examples.fill(symbols);
  history.replaceState(null, "", writeAddress(location.pathname, watchlist.own ? symbols : []));
  showCount();
}

function showCount(): void {
  const { text } = find;
  const total = watchlist.symbols.length;
  const shown = board.filter(text);
  count.textContent = text ? `${shown} of ${total}` : String(total);
  document.body.dataset["rows"] = shown > 0 ? "some" : total > 0 ? "filtered" : watchlist.own || !dev ? "none" : "awaited";
  empty.textContent = total > 0 ? `No symbol here contains “${text}”. Enter adds it.` : "";
}

async function developmentToken(): Promise<string> {
  const response = await fetch(new URL("dev/token", base), { cache: "no-store" });
  if (!response.ok) throw new Error(`no token: the server answers ${response.status}`);
  return ((await response.json()) as { token: string }).token;
}

/** Looks for what the feeds produce, as long as the list is not the user's own. */
async function discover(): Promise<void> {
  for (;;) {
    if (!watchlist.own && !document.hidden) await look();
    await new Promise((done) => setTimeout(done, LOOK_MS[watchlist.symbols.length > 0 ? 1 : 0]));
  }
}

async function look(): Promise<void> {
  // A server that does not answer is no news: the state says so already.
  const response = await fetch(new URL("dev/symbols", base), { cache: "no-store" }).catch(() => undefined);
  const { symbols = [] } = response?.ok ? ((await response.json()) as { symbols: string[] }) : {};
  const fresh = symbols.some((symbol) => !watchlist.get(symbol));
  if (watchlist.own || !fresh) return;
  // Behind those that are shown: no row jumps when a feed begins with one more symbol.
  const shown = watchlist.symbols.filter((symbol) => symbols.includes(symbol));
  const more = symbols.filter((symbol) => !shown.includes(symbol)).sort(byName);
  watchlist.found([...shown, ...more].slice(0, MAX_FOUND));
  if (symbols.length > MAX_FOUND) find.say(`The first ${MAX_FOUND} of ${symbols.length} symbols: more than that a plan does not allow.`);
  changed();
}

function toggle(): void {
  if (session.state === "connecting" || session.state === "connected") session.pause();
  else session.resume();
}

function readList(): void {
  watchlist.choose(readAddress(location));
  changed();
  if (dev && !watchlist.own) void look();
}

place("pause").addEventListener("click", toggle);
place("clear").addEventListener("click", () => log.clear());
place("all").addEventListener("click", () => {
  history.replaceState(null, "", location.pathname);
  readList();
});
addEventListener("hashchange", readList);
// What came while nobody looked is late on the screen, which says nothing about its way.
document.addEventListener("visibilitychange", () => meter.restart());
addEventListener("online", () => session.state === "reconnecting" && session.resume());

readList();
if (dev || token.token !== undefined) session.open(token.token);
else showState("idle", undefined);
if (dev) void discover();
