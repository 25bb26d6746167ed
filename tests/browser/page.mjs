// Drives the live page in Chromium against a real server and tells the test what it saw: page.mjs SCENE URL
//
// Each scene prints JSON objects of facts, the last of them when it is over; the test decides what they should
// be. Scenes of one server watch symbols of their own. PUBLISHER is a token that may publish, TOKEN one for the page.
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { createServer } from "node:http";
import { setTimeout as pause } from "node:timers/promises";

import { openBrowser, tell } from "../node/chromium.mjs";

const [scene, url] = process.argv.slice(2);
const { TOKEN, PUBLISHER } = process.env;
const LIMIT_MS = 15_000 * Number(process.env.TEST_TIME_SCALE ?? 1);
const STARTED = Date.now();
const PICTURES = new URL("../artifacts/", import.meta.url).pathname;
const LONGEST = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345";

async function publish(body) {
  const headers = { Authorization: `Bearer ${PUBLISHER}` };
  const response = await fetch(`${url}/api/v1/market/publish`, { method: "POST", headers, body: JSON.stringify(body) });
  const { accepted } = await response.json();
  if (accepted !== 1) throw new Error(`the server did not take ${JSON.stringify(body)}`);
}

/** A best price of `symbol` whose bid is `bid`; later ones are newer. */
function price(symbol, bid, { source = "alpha", at = Date.now(), spread = 0.0002 } = {}) {
  const round = (value) => Number(value.toFixed(6));
  return {
    symbol,
    bestBid: { price: bid, size: 1_500_000, source },
    bestAsk: { price: round(bid + spread), size: null, source: "beta" },
    midPrice: round(bid + spread / 2),
    spread: round(spread),
    spreadBps: round((spread / bid) * 10_000),
    timestamp: at,
  };
}

const send = (symbol, bid, options) => publish({ prices: [price(symbol, bid, options)] });

/** Opens the page and keeps what a test may want to know about it: states, noise, hosts, shifts, frames. */
async function open(browser, { root = url, at = "", fakeTime = false, ...options } = {}) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 860 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(LIMIT_MS);
  const noise = [];
  const hosts = new Set();
  const frames = [];
  const paths = new Set();
  page.on("console", (message) => noise.push(`${message.type()}: ${message.text()}`));
  page.on("pageerror", (error) => noise.push(String(error)));
  page.on("request", (request) => {
    hosts.add(new URL(request.url()).origin);
    paths.add(new URL(request.url()).pathname);
  });
  page.on("websocket", (socket) => {
    hosts.add(new URL(socket.url()).origin.replace("ws", "http"));
    socket.on("framereceived", ({ payload }) => frames.push(String(payload)));
  });
  if (fakeTime) await page.clock.install({ time: STARTED });
  await page.addInitScript(() => {
    window.states = [];
    window.shifts = [];
    window.strokes = 0;
    const { stroke } = CanvasRenderingContext2D.prototype;
    CanvasRenderingContext2D.prototype.stroke = function (...path) {
      window.strokes += 1;
      return stroke.apply(this, path);
    };
    new PerformanceObserver((list) => {
      // A number at the right of its place begins further left when it has a digit more: that moves nothing else.
      const grown = ({ node, previousRect, currentRect }) => node?.nodeType === Node.TEXT_NODE && previousRect.right === currentRect.right;
      const moved = ({ node, previousRect: { x, y }, currentRect: now }) => `${node?.parentElement?.className} ${node?.className ?? node?.nodeName}: ${x}, ${y} to ${now.x}, ${now.y}`;
      for (const { hadRecentInput, sources } of list.getEntries()) if (!hadRecentInput) window.shifts.push(...sources.filter((source) => !grown(source)).map(moved));
    }).observe({ type: "layout-shift", buffered: true });
    document.addEventListener("DOMContentLoaded", () => {
      const note = () => window.states.push(document.querySelector(".status").textContent.trim());
      new MutationObserver(note).observe(document.querySelector(".status"), { subtree: true, childList: true });
    });
  });
  await page.goto(`${root}/${at}`);
  const row = (symbol) => page.locator("#rows tr", { has: page.getByText(symbol, { exact: true }) });
  return {
    page,
    row,
    frames,
    cell: (symbol, place) => row(symbol).locator(place).innerText().then((text) => text.trim()),
    state: (text) => page.locator("#state", { hasText: text }).waitFor(),
    shows: (symbol, place, text) => row(symbol).locator(place).filter({ hasText: text }).waitFor(),
    rows: () => page.getByRole("rowheader").allInnerTexts(),
    note: () => page.locator("#note").innerText(),
    received: async (text) => {
      for (const deadline = Date.now() + LIMIT_MS; !frames.some((frame) => frame.includes(text)); ) {
        if (Date.now() > deadline) throw new Error(`nothing with ${text} was received`);
        await page.evaluate(() => 0);
      }
    },
    query: page.getByRole("searchbox", { name: "Filter the table, or add a symbol" }),
    facts: async () => ({
      noise,
      hosts: [...hosts],
      paths: [...paths],
      ...(await page.evaluate(() => ({ states: window.states, shifts: window.shifts, events: [...document.querySelectorAll("#events span")].map((node) => node.textContent) }))),
    }),
  };
}

/** Whether a line was drawn on any chart. */
const isDrawn = () => window.strokes > 0;

const scenes = {
  /** Two prices, the second higher. */
  async move(browser) {
    const { cell, page, state, shows, facts } = await open(browser, { at: "#MOVE/ONE" });
    await state("Live");
    await send("MOVE/ONE", 1.1);
    await shows("MOVE/ONE", ".mid", "1.1001");
    const first = await cell("MOVE/ONE", ".mid .value");
    await send("MOVE/ONE", 1.1003, { source: "gamma" });
    await page.getByRole("img", { name: "up" }).waitFor();
    const places = [".bid", ".bid-from .source", ".bid-from .size", ".ask", ".ask-from .source", ".mid .value", ".spread", ".bps"];
    const texts = await Promise.all(places.map((place) => cell("MOVE/ONE", place)));
    await shows("MOVE/ONE", ".change", "+0.03 %");
    return { first, texts, arrow: await cell("MOVE/ONE", ".arrow"), ...(await facts()) };
  },

  /** Everything a real server in development mode sends, and what that looks like. */
  async real(browser) {
    mkdirSync(PICTURES, { recursive: true });
    const seen = {};
    for (const [name, options] of Object.entries({
      "desktop-light": { colorScheme: "light" },
      "desktop-dark": { colorScheme: "dark" },
      phone: { colorScheme: "dark", viewport: { width: 375, height: 812 }, isMobile: true, deviceScaleFactor: 2 },
    })) {
      const { page, facts } = await open(browser, options);
      const mids = () => page.locator("#rows .mid .value").allInnerTexts();
      await page.waitForFunction(() => /\d/.test(document.querySelector("#rows .mid .value")?.textContent));
      const first = (await mids()).join();
      await page.waitForFunction((text) => [...document.querySelectorAll("#rows .mid .value")].map((node) => node.innerText).join() !== text, first);
      await page.waitForFunction(() => document.getElementById("latency").textContent.endsWith("ms"));
      await page.waitForFunction(() => Number(document.getElementById("rate").textContent) > 0);
      await page.waitForFunction(isDrawn);
      const ground = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
      seen[name] = { first, then: (await mids()).join(), ground, ...(await facts()) };
      await page.screenshot({ path: `${PICTURES}page-${name}.png` });
      await page.context().close();
    }
    return seen;
  },

  /** The document comes a tag at a time, so that each state between is painted; prices do not come this way. */
  async trickle(browser) {
    const slow = createServer(async (request, response) => {
      const upstream = await fetch(url + request.url);
      response.writeHead(upstream.status, { "Content-Type": upstream.headers.get("Content-Type") });
      if (request.url !== "/") return response.end(Buffer.from(await upstream.arrayBuffer()));
      for (const tag of (await upstream.text()).split(/(?=<)/)) {
        response.write(tag);
        await pause(10);
      }
      response.end();
    }).listen(0, "127.0.0.1");
    await once(slow, "listening");
    try {
      const { facts } = await open(browser, { root: `http://127.0.0.1:${slow.address().port}` });
      return await facts();
    } finally {
      slow.close();
      slow.closeAllConnections();
    }
  },

  /** The server dies and comes back, by the hand of the test. */
  async restart(browser) {
    const { page, state, shows, facts } = await open(browser, { at: "#BACK" });
    await state("Live");
    await send("BACK", 1.1);
    await shows("BACK", ".mid", "1.1001");
    tell({ ready: true });
    await state("Reconnecting");
    await page.locator("#state", { hasText: "Live" }).waitFor({ timeout: 4 * LIMIT_MS });
    await shows("BACK", ".mid", "2.5001");
    return facts();
  },

  /** A symbol whose sources fall silent, and speak again. */
  async quiet(browser) {
    const quote = (bid) => publish({ quotes: [{ symbol: "QUIET", source: "alpha", bid, ask: bid + 1, timestamp: Date.now() }] });
    const { cell, state, shows, facts } = await open(browser, { at: "#QUIET" });
    await state("Live");
    await quote(1);
    await shows("QUIET", ".mid", "1.5");
    const fresh = await cell("QUIET", ".age");
    await shows("QUIET", ".age", "stale");
    const old = await cell("QUIET", ".age");
    await quote(2);
    await shows("QUIET", ".mid", "2.5");
    await shows("QUIET", ".age", /^[^a-z]*\d+ s$/);
    return { fresh, old, ...(await facts()) };
  },

  /** Fifty prices between two frames, and how often the page was written. */
  async frame(browser) {
    const { page, cell, state, shows, received, facts } = await open(browser, { fakeTime: true, at: "#FRAME" });
    await state("Live");
    await send("FRAME", 1.1);
    await shows("FRAME", ".mid", "1.1001");
    await page.clock.pauseAt(Date.now() + 1_000);
    await page.evaluate(() => {
      window.writes = 0;
      const count = (records) => (window.writes += records.length);
      new MutationObserver(count).observe(document.querySelector("#rows .mid .value"), { characterData: true, subtree: true });
    });
    for (let step = 1; step <= 50; step += 1) await send("FRAME", 2 + step);
    await received('"price":52');
    const before = await page.evaluate(() => window.writes);
    await page.clock.runFor(50);
    return { before, after: await page.evaluate(() => window.writes), mid: await cell("FRAME", ".mid .value"), ...(await facts()) };
  },

  /** A tab that nobody looks at has no frames; then somebody looks again. */
  async background(browser) {
    const { page, cell, state, shows, received, facts } = await open(browser, { fakeTime: true, at: "#TAB" });
    await state("Live");
    await send("TAB", 1.1);
    await shows("TAB", ".mid", "1.1001");
    await page.waitForFunction(isDrawn);
    await page.clock.pauseAt(Date.now() + 1_000);
    const look = (hidden) => page.evaluate((value) => {
      Object.defineProperty(document, "hidden", { value, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }, hidden);
    await look(true);
    await page.clock.runFor(100);
    await page.evaluate(() => (window.strokes = 0));
    for (let step = 1; step <= 5; step += 1) await send("TAB", 2 + step);
    await received('"price":7');
    // Such a tab has no frames either, which a paused clock stands for.
    const hidden = [await cell("TAB", ".mid .value"), await page.evaluate(() => window.strokes)];
    await look(false);
    await page.clock.runFor(600);
    return { hidden, shown: await cell("TAB", ".mid .value"), drawn: await page.evaluate(() => window.strokes), ...(await facts()) };
  },

  /** Not in development mode: a token is needed, and kept in no place where it does not belong. */
  async token(browser) {
    const { page, state, shows, facts } = await open(browser, { at: "?symbols=key/one" });
    const field = page.getByLabel("Access token");
    const told = () => page.locator("#secret-note").innerText();
    const kept = () => page.evaluate(() => [Object.values(sessionStorage), Object.values(localStorage), location.href, document.cookie]);
    const before = [await page.locator("#state").innerText(), await field.getAttribute("type")];
    await field.fill("nonsense");
    await field.press("Enter");
    await page.getByText("The server refused this token").waitFor();
    const refused = { told: await told(), state: await page.locator("#state").innerText(), kept: await kept() };
    await field.fill(TOKEN);
    await page.getByRole("button", { name: "Connect" }).click();
    await state("Live");
    await send("KEY/ONE", 1.1);
    await shows("KEY/ONE", ".mid", "1.1001");
    const connected = { kept: await kept(), field: await field.inputValue() };
    await page.reload();
    await state("Live");
    await page.getByRole("button", { name: "Forget" }).click();
    await state("Waiting");
    return { before, refused, connected, after: await kept(), ...(await facts()) };
  },

  /** A token that is good for some symbols only. */
  async refused(browser) {
    const { page, row, query, note, rows, state, facts } = await open(browser, { at: "#EUR/USD" });
    await page.getByLabel("Access token").fill(TOKEN);
    await page.getByRole("button", { name: "Connect" }).click();
    await state("Live");
    await query.fill("AAPL");
    await query.press("Enter");
    await page.getByText("AAPL: not entitled").first().waitFor();
    await row("AAPL").waitFor({ state: "detached" });
    return { note: await note(), rows: await rows(), kept: new URL(page.url()).hash, ...(await facts()) };
  },

  /** The user ends the connection, and wants it back. */
  async pause(browser) {
    const { page, state, facts } = await open(browser, { at: "#PAUSE" });
    await state("Live");
    await page.getByRole("button", { name: "Pause", exact: true }).click();
    await state("Paused");
    await page.getByRole("button", { name: "Resume" }).click();
    await state("Live");
    return facts();
  },

  /** A phone, with the longest names and prices there can be. */
  async phone(browser) {
    const { page, state, shows, facts } = await open(browser, { viewport: { width: 375, height: 812 }, isMobile: true, at: `#${LONGEST},EUR/USD` });
    await state("Live");
    await send(LONGEST, 1_234_567_890.12345, { source: "a-source-with-a-very-long-name", spread: 0.5 });
    await shows(LONGEST, ".bid", "1,234,567,890.12345");
    const widths = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    const cut = await page.evaluate(() => [...document.querySelectorAll("#rows .bid, #rows .ask, #rows .mid")].filter((node) => node.scrollWidth > node.clientWidth).length);
    return { widths, cut, ...(await facts()) };
  },

  /** What a moving price looks like to those who asked for less motion, and to those who did not. */
  async motion(browser) {
    const looks = {};
    for (const reducedMotion of ["reduce", "no-preference"]) {
      const symbol = `MOTION/${reducedMotion.slice(0, 2).toUpperCase()}`;
      const { page, state, shows } = await open(browser, { reducedMotion, at: `#${symbol}` });
      await state("Live");
      await send(symbol, 1.1);
      await shows(symbol, ".mid", "1.1001");
      await page.evaluate(() => {
        const node = document.querySelector("#rows .mid .value");
        // A look at the second frame in which the cell is lit: by then its style is settled.
        const seen = (frames) => {
          if (frames === 2) window.look ??= [getComputedStyle(node).backgroundColor, getComputedStyle(node).transitionDuration];
          requestAnimationFrame(() => seen(node.dataset.glow ? frames + 1 : 0));
        };
        seen(0);
      });
      await send(symbol, 1.0);
      await page.getByRole("img", { name: "down" }).waitFor();
      looks[reducedMotion] = await (await page.waitForFunction(() => window.look)).jsonValue();
      await page.context().close();
    }
    return looks;
  },

  /** Symbols the user filters, adds, shares and removes, and one that cannot be. */
  async ask(browser) {
    const { page, row, rows, query, note, state, facts } = await open(browser, { at: "#ASK/ONE,ASK/TWO" });
    await state("Live");
    await query.fill("two");
    const filtered = await rows();
    await query.fill("no$uch");
    await query.press("Enter");
    const wrong = [await query.getAttribute("aria-invalid"), await note()];
    await query.fill("vod.l");
    await query.press("Enter");
    await row("VOD.L").waitFor();
    const shared = new URL(page.url()).hash;
    await page.reload();
    await row("VOD.L").waitFor();
    await state("Live");
    await row("VOD.L").getByRole("button", { name: "Remove VOD.L" }).click();
    await row("VOD.L").waitFor({ state: "detached" });
    return { filtered, wrong, shared, left: new URL(page.url()).hash, ...(await facts()) };
  },

  /** Everything by keyboard, from the first key to an empty list. */
  async keyboard(browser) {
    const { page, rows, query, state, facts } = await open(browser, { at: "#KEY/A,KEY/B,KEY/C" });
    await state("Live");
    const focused = () => page.evaluate(() => document.activeElement.dataset.symbol ?? document.activeElement.id);
    const path = [];
    const press = async (key) => {
      await page.keyboard.press(key);
      path.push(await focused());
    };
    for (const key of ["/", "ArrowDown", "ArrowDown", "End", "Home", "ArrowDown", "Delete"]) await press(key);
    const left = await rows();
    await page.keyboard.press("/");
    await page.keyboard.type("zzz");
    const filtered = (await rows()).length;
    await press("Escape");
    const back = (await rows()).length;
    await press("ArrowDown");
    await page.keyboard.press("Tab");
    const named = await page.evaluate(() => document.activeElement.getAttribute("aria-label"));
    await page.keyboard.press("Enter");
    await press("Delete");
    return { path, left, filtered, back, named, empty: await page.getByText("Nothing is watched").isVisible(), ...(await facts()) };
  },

  /** Data that would be markup, if anybody let it, and an address that is no list of symbols. */
  async markup(browser) {
    const { page, cell, state, facts } = await open(browser, { at: "#%zz,<b>x</b>,markup" });
    await state("Live");
    const source = "<img src=x onerror=alert(1)>";
    await send("MARKUP", 1.1, { source });
    await page.getByText(source).waitFor();
    return { source: await cell("MARKUP", ".bid-from .source"), images: await page.locator("td img").count(), rows: await page.locator("#rows tr").count(), ...(await facts()) };
  },

  /** What a screen reader is given. */
  async names(browser) {
    const { page, state, shows, facts } = await open(browser, { at: "#NAMES" });
    await state("Live");
    await send("NAMES", 1.1);
    await shows("NAMES", ".mid", "1.1001");
    const table = page.getByRole("table", { name: "Best prices" });
    await table.getByRole("rowheader", { name: "NAMES" }).waitFor();
    const tree = await page.locator("body").ariaSnapshot();
    await page.getByText("Try it yourself").click();
    return {
      columns: await table.getByRole("columnheader").count(),
      cells: await table.getByRole("cell").count(),
      tree,
      live: await page.locator("[aria-live], [role=status], [role=alert], [role=log]").count(),
      unnamed: await page.evaluate(() => [...document.querySelectorAll("button, input")].filter((node) => !(node.getAttribute("aria-label") ?? node.labels?.[0]?.textContent ?? node.textContent)).length),
      examples: await page.locator("pre:visible").allInnerTexts(),
      ...(await facts()),
    };
  },
};

const browser = await openBrowser();
try {
  tell(await scenes[scene](browser));
} finally {
  await browser.close();
}
