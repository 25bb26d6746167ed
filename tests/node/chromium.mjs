// Opens Debian's Chromium the way every browser test wants it: no network of its own, no questions asked.
import { chromium } from "playwright-core";

/** Starts the browser named by the environment's CHROMIUM; the caller closes it. */
export function openBrowser() {
  const executablePath = process.env.CHROMIUM;
  if (!executablePath) throw new Error("CHROMIUM names no browser");
  return chromium.launch({
    executablePath,
    headless: true,
    args: [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}

/** Prints one JSON value on one line: how a script tells its test what it saw. */
export function tell(value) {
  console.log(JSON.stringify(value));
}
