// Opens an example page in Chromium and prints what its table shows once it moves: example_page.mjs URL
import { openBrowser, tell } from "../node/chromium.mjs";

const [url] = process.argv.slice(2);
const timeout = 15_000 * Number(process.env.TEST_TIME_SCALE ?? 1);
const browser = await openBrowser();
try {
  const page = await browser.newPage();
  const noise = [];
  page.on("pageerror", (error) => noise.push(String(error)));
  await page.goto(url);
  const bids = () => [...document.querySelectorAll("#rows tr")].map((row) => row.cells[1].textContent).join();
  await page.waitForFunction(() => document.querySelectorAll("#rows tr").length === 2, null, { timeout });
  const first = await page.evaluate(bids);
  await page.waitForFunction(`(${bids})() !== ${JSON.stringify(first)}`, null, { timeout });
  const symbols = await page.$$eval("#rows tr", (rows) => rows.map((row) => row.cells[0].textContent));
  tell({ symbols, note: await page.textContent("#note"), noise });
} finally {
  await browser.close();
}
