// Drives the React page in Chromium: page.mjs URL FOLDER. What it prints tells the test when to act: it ends the
// server when it reads "kill" and starts another one when it reads "start". Screenshots go to the folder.
import { openBrowser, tell } from "../../node/chromium.mjs";

const [url, folder] = process.argv.slice(2);
const timeout = 20_000 * Number(process.env.TEST_TIME_SCALE ?? 1);

/** Headless browsers never hide a tab, so this does what hiding does: no frames, and timers once a second. */
function background() {
  const { requestAnimationFrame, setTimeout } = window;
  let hidden = false;
  let held = [];
  window.requestAnimationFrame = (task) => requestAnimationFrame((now) => (hidden ? held.push(task) : task(now)));
  window.setTimeout = (task, ms, ...args) => setTimeout(task, hidden ? Math.max(ms, 1000) : ms, ...args);
  window.hide = (hide) => {
    hidden = hide;
    if (!hide) held.splice(0).forEach((task) => requestAnimationFrame(task));
  };
}

const browser = await openBrowser();
try {
  const context = await browser.newContext({ viewport: { width: 800, height: 400 } });
  const page = await context.newPage();
  page.setDefaultTimeout(timeout);
  const noise = [];
  page.on("console", (message) => {
    if (message.type() !== "info") noise.push(`${message.type()}: ${message.text()}`);
  });
  page.on("pageerror", (error) => noise.push(String(error)));
  await page.addInitScript(background);
  await page.goto(url);

  const shows = (state) => page.locator("#state", { hasText: new RegExp(`^${state}$`) }).waitFor();
  const cells = () => page.locator("td:nth-child(4)").allInnerTexts();
  const shot = (name) => page.screenshot({ path: `${folder}/${name}.png` });
  const seen = () => page.evaluate(() => window.seen);
  /** Waits until every row has a price, and another one than it had. */
  async function moves() {
    const each = () => [...document.querySelectorAll("td:nth-child(4)")].map((cell) => cell.textContent);
    const before = await cells();
    await page.waitForFunction(`(${each})().every((text, row) => text && text !== ${JSON.stringify(before)}[row])`);
  }

  await shows("connected");
  await moves();
  await shot("moving");

  await page.getByLabel("Symbol").fill("BTC/USD");
  await page.getByRole("button", { name: "Add" }).click();
  await moves();
  const added = await page.getByRole("rowheader").allInnerTexts();
  await page.getByRole("button", { name: "Remove AAPL" }).click();
  await page.getByRole("rowheader", { name: "AAPL" }).waitFor({ state: "detached" });
  await moves();
  const kept = await page.getByRole("rowheader").allInnerTexts();
  await shot("edited");

  await page.evaluate(() => window.hide(true));
  const hidden = await seen();
  await page.waitForFunction((count) => window.seen.prices > count + 20, hidden.prices, { polling: 50 });
  const later = await seen();
  await page.evaluate(() => window.hide(false));
  await moves();

  tell("kill");
  await shows("reconnecting");
  const frozen = await cells();
  await shot("reconnecting");
  tell("start");
  await shows("connected");
  await moves();
  await shot("back");
  tell({
    added,
    kept,
    background: { renders: later.renders - hidden.renders, prices: later.prices - hidden.prices },
    frozen: frozen.length,
    ...(await seen()),
    noise,
  });
} finally {
  await browser.close();
}
