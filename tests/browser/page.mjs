// Drives the live page in Chromium and tells the test what it saw: page.mjs SCENE URL
//
// Each scene prints one JSON object of facts; the test decides what they should be. Scenes that play the
// server talk to the stand-in at the same URL (tests/support/fake_stream.py).
import { openBrowser, tell } from "../node/chromium.mjs";

const [scene, url] = process.argv.slice(2);
const LIMIT_MS = 15_000 * Number(process.env.TEST_TIME_SCALE ?? 1);
const STARTED = Date.now();

const post = (deed, body) => fetch(`${url}/play/${deed}`, { method: "POST", body: JSON.stringify(body) });
const requests = async () => (await fetch(`${url}/play/requests`)).json();

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

const send = (data) => post("send", { event: "price", id: `${data.symbol}-${data.timestamp}@${data.timestamp}000`, data });
const sendEvent = (event, data) => post("send", { event, data });

/** Opens the page and keeps what a test may want to know about it: states, noise, hosts. */
async function open(browser, { hash = "", fakeTime = false, ...options } = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(LIMIT_MS);
  const noise = [];
  const hosts = new Set();
  page.on("console", (message) => noise.push(`${message.type()}: ${message.text()}`));
  page.on("pageerror", (error) => noise.push(String(error)));
  page.on("request", (request) => hosts.add(new URL(request.url()).origin));
  if (fakeTime) await page.clock.install({ time: STARTED });
  await page.addInitScript(() => {
    window.states = [];
    document.addEventListener("DOMContentLoaded", () => {
      const note = () => window.states.push(document.querySelector(".state").textContent.trim());
      new MutationObserver(note).observe(document.querySelector(".state"), { subtree: true, childList: true });
    });
  });
  await page.goto(`${url}/${hash}`);
  const row = (symbol) => page.locator("#rows tr", { has: page.getByText(symbol, { exact: true }) });
  return {
    page,
    row,
    cell: (symbol, place) => row(symbol).locator(place).innerText(),
    state: (text) => page.locator("#state", { hasText: text }).waitFor(),
    shows: (symbol, place, text) => row(symbol).locator(place).filter({ hasText: text }).waitFor(),
    facts: async () => ({ noise, hosts: [...hosts], states: await page.evaluate(() => window.states) }),
  };
}

const scenes = {
  /** The stand-in sends two prices, the second higher. */
  async move(browser) {
    await post("symbols", ["EUR/USD"]);
    const { page, cell, state, shows, facts } = await open(browser);
    await state("live");
    await send(price("EUR/USD", 1.1));
    await shows("EUR/USD", ".mid", "1.1001");
    const first = await cell("EUR/USD", ".mid .value");
    await send(price("EUR/USD", 1.1003, { source: "gamma" }));
    await page.getByRole("img", { name: "up" }).waitFor();
    const places = [".bid", ".bid-from .source", ".bid-from .size", ".ask", ".ask-from", ".mid .value", ".spread", ".bps"];
    const texts = await Promise.all(places.map((place) => cell("EUR/USD", place)));
    return { first, texts, arrow: await cell("EUR/USD", ".arrow"), ...(await facts()) };
  },

  /** Everything a real server in development mode sends. */
  async real(browser) {
    const { page, state, facts } = await open(browser);
    await state("live");
    const mids = () => page.locator("#rows .mid .value").allInnerTexts();
    await page.waitForFunction(() => /\d/.test(document.querySelector("#rows .mid .value")?.textContent));
    const first = (await mids()).join();
    await page.waitForFunction((text) => [...document.querySelectorAll("#rows .mid .value")].map((node) => node.innerText).join() !== text, first);
    await page.waitForFunction(() => document.getElementById("latency").textContent.endsWith("ms"));
    await page.waitForFunction(() => Number(document.getElementById("rate").textContent) > 0);
    return { first, then: (await mids()).join(), ...(await facts()) };
  },

  /** The stand-in ends the stream; the browser comes back by itself. */
  async cut(browser) {
    await post("symbols", ["EUR/USD"]);
    const { page, state, shows, facts } = await open(browser);
    await state("live");
    await send(price("EUR/USD", 1.1, { at: 1_700_000_000_000 }));
    await shows("EUR/USD", ".mid", "1.1001");
    await post("cut", {});
    await page.waitForFunction(() => window.states.length > 1 && document.body.dataset.state === "live");
    return { requests: await requests(), ...(await facts()) };
  },

  /** The stand-in comes back with another secret: every token it gave before is refused. */
  async rotate(browser) {
    await post("symbols", ["EUR/USD"]);
    const { page, state, shows, facts } = await open(browser);
    await state("live");
    await send(price("EUR/USD", 1.1, { at: 1_700_000_000_000 }));
    await shows("EUR/USD", ".mid", "1.1001");
    await post("rotate", {});
    await page.waitForFunction(() => window.states.some((text) => text.includes("401")));
    await state("live");
    await send(price("EUR/USD", 1.2));
    await shows("EUR/USD", ".mid", "1.2001");
    return { requests: await requests(), ...(await facts()) };
  },

  /** The stand-in refuses for good, until the user asks again. */
  async refuse(browser) {
    await post("symbols", ["EUR/USD"]);
    await post("refuse", { status: 403, code: "NOT_ENTITLED", message: "not in your plan" });
    const { page, state, facts } = await open(browser);
    await state("closed");
    const reason = await page.locator("#reason").innerText();
    await post("refuse", {});
    await page.getByRole("button", { name: "Resume" }).click();
    await state("live");
    await page.getByRole("button", { name: "Pause" }).click();
    await state("closed");
    return { reason, paused: await page.locator("#reason").innerText(), ...(await facts()) };
  },

  /** A status, a newer price, and then nothing at all for longer and longer. */
  async quiet(browser) {
    await post("symbols", ["EUR/USD"]);
    const { page, cell, state, shows, facts } = await open(browser, { fakeTime: true });
    await state("live");
    const at = STARTED - 5000;
    await send(price("EUR/USD", 1.1, { at }));
    await shows("EUR/USD", ".age", " s");
    await sendEvent("status", { symbol: "EUR/USD", state: "stale", source: "alpha", since: at + 1 });
    await shows("EUR/USD", ".age", "stale");
    await send(price("EUR/USD", 1.2, { at: at + 2 }));
    await page.waitForFunction(() => document.querySelector("#rows .mark").textContent === "");
    const fresh = await cell("EUR/USD", ".age");
    await page.clock.fastForward(40_000);
    await shows("EUR/USD", ".age", "stale");
    const old = await cell("EUR/USD", ".age");
    await page.clock.fastForward(60_000);
    await shows("EUR/USD", ".age", "1 min");
    const patient = (await requests()).length;
    await sendEvent("heartbeat", { timestamp: Date.now() });
    await sendEvent("subscribed", { subscribed: [], errors: ["TSLA: not entitled"] });
    await page.getByText("TSLA: not entitled").waitFor();
    await page.clock.fastForward(90_000);
    await page.waitForFunction(() => window.states.some((text) => text.includes("heartbeat")));
    await state("live");
    return { fresh, old, patient, requests: await requests(), ...(await facts()) };
  },

  /** Fifty prices between two frames, and how often the page was written. */
  async frame(browser) {
    await post("symbols", ["EUR/USD"]);
    const { page, cell, state, shows, facts } = await open(browser, { fakeTime: true });
    await state("live");
    await send(price("EUR/USD", 1.1));
    await shows("EUR/USD", ".mid", "1.1001");
    await page.clock.pauseAt(Date.now() + 60_000);
    await page.evaluate(() => {
      window.writes = 0;
      const count = (records) => { window.writes += records.length; };
      new MutationObserver(count).observe(document.querySelector("#rows .mid .value"), { characterData: true, subtree: true });
    });
    for (let step = 1; step <= 50; step += 1) await send(price("EUR/USD", 2 + step));
    // An error is written at once, and comes after the prices on the same stream: they have all arrived.
    await sendEvent("error", { code: "LAST", message: "all sent" });
    await page.getByText("LAST: all sent").waitFor();
    const before = await page.evaluate(() => window.writes);
    await page.clock.runFor(50);
    return { before, after: await page.evaluate(() => window.writes), mid: await cell("EUR/USD", ".mid .value"), ...(await facts()) };
  },

  /** A phone, with the longest names and prices there can be. */
  async phone(browser) {
    const long = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345";
    await post("symbols", [long, "EUR/USD"]);
    const { page, state, shows, facts } = await open(browser, { viewport: { width: 375, height: 812 }, isMobile: true, hash: `#${long}` });
    await state("live");
    await send(price(long, 1_234_567_890.12345, { source: "a-source-with-a-very-long-name", spread: 0.5 }));
    await shows(long, ".bid", "1,234,567,890.12345");
    const widths = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    const cut = await page.evaluate(() => [...document.querySelectorAll("#rows .bid, #rows .ask, #rows .mid")].filter((node) => node.scrollWidth > node.clientWidth).length);
    return { widths, cut, ...(await facts()) };
  },

  /** What a moving price looks like to those who asked for less motion, and to those who did not. */
  async motion(browser) {
    await post("symbols", ["EUR/USD"]);
    const looks = {};
    for (const reducedMotion of ["reduce", "no-preference"]) {
      const { page, state, shows } = await open(browser, { reducedMotion });
      await state("live");
      await send(price("EUR/USD", 1.1));
      await shows("EUR/USD", ".mid", "1.1001");
      await page.evaluate(() => {
        const node = document.querySelector("#rows .mid .value");
        new MutationObserver(() => {
          if (node.dataset.glow) window.look ??= [getComputedStyle(node).backgroundColor, getComputedStyle(node).transitionDuration];
        }).observe(node, { attributes: true });
      });
      await send(price("EUR/USD", 1.0));
      await page.getByRole("img", { name: "down" }).waitFor();
      looks[reducedMotion] = await (await page.waitForFunction(() => window.look)).jsonValue();
      await page.context().close();
    }
    return looks;
  },

  /** Symbols the user asks for by keyboard, a filter, and one that cannot be. */
  async ask(browser) {
    await post("symbols", ["EUR/USD", "AAPL"]);
    const { page, row, state, facts } = await open(browser);
    await state("live");
    const query = page.getByRole("searchbox", { name: "Filter the table, or add a symbol" });
    await query.fill("eur");
    const filtered = await page.getByRole("rowheader").allInnerTexts();
    await query.fill("no$uch");
    await query.press("Enter");
    const wrong = [await query.getAttribute("aria-invalid"), await page.locator("#note").innerText()];
    await query.fill("vod.l");
    await query.press("Enter");
    await row("VOD.L").waitFor();
    const shared = new URL(page.url()).hash;
    await page.reload();
    await row("VOD.L").waitFor();
    await state("live");
    await page.getByRole("button", { name: "Remove VOD.L" }).press("Enter");
    await row("VOD.L").waitFor({ state: "detached" });
    await state("live");
    return { filtered, wrong, shared, left: new URL(page.url()).hash, asked: (await requests()).map((one) => one.symbols), ...(await facts()) };
  },

  /** Data that would be markup, if anybody let it, and an address that is no list of symbols. */
  async markup(browser) {
    await post("symbols", ["EUR/USD"]);
    const { page, cell, state, facts } = await open(browser, { hash: "#%zz,<b>x</b>,vod.l" });
    await state("live");
    const source = "<img src=x onerror=alert(1)>";
    await send(price("EUR/USD", 1.1, { source }));
    await page.getByText(source).waitFor();
    return { source: await cell("EUR/USD", ".bid-from .source"), images: await page.locator("td img").count(), kept: new URL(page.url()).hash, ...(await facts()) };
  },

  /** What a screen reader is given. */
  async names(browser) {
    await post("symbols", ["EUR/USD"]);
    const { page, state, facts } = await open(browser);
    await state("live");
    await send(price("EUR/USD", 1.1));
    const table = page.getByRole("table", { name: "Best prices" });
    await table.getByRole("rowheader", { name: "EUR/USD" }).waitFor();
    return {
      columns: await table.getByRole("columnheader").count(),
      cells: await table.getByRole("cell").count(),
      live: await page.locator("[aria-live], [role=status], [role=alert]").count(),
      unnamed: await page.evaluate(() => [...document.querySelectorAll("button, input")].filter((node) => !(node.getAttribute("aria-label") ?? node.labels?.[0]?.textContent ?? node.textContent)).length),
      examples: await page.locator("pre").allInnerTexts(),
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
