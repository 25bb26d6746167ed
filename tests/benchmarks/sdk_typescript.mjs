// One client of the TypeScript SDK with many symbols: sdk_typescript.mjs URL TOKEN TRANSPORT COUNT SECONDS
//
// It waits until every symbol has a price, then counts for so long. Lateness is the time from a price's
// timestamp, which the synthetic feed sets when it makes it, to the callback; both clocks are this machine's.
import { MarketDataClient } from "../../sdk/typescript/dist/index.js";

const [url, token, transport, count, seconds] = process.argv.slice(2);
const symbols = Array.from({ length: Number(count) }, (_, index) => `SYM${index}`);
const megabytes = (bytes) => Math.round((bytes / 1e6) * 10) / 10;

function memory() {
  globalThis.gc();
  const { heapUsed, rss } = process.memoryUsage();
  return { heap: megabytes(heapUsed), rss: megabytes(rss) };
}

const empty = memory();
const client = new MarketDataClient({ url, token, transport });
const newest = new Map();
let counting = false;
let backwards = 0;
const lateness = new Uint32Array(60_000);
let prices = 0;

client.onError((error) => console.error(error.message));
client.subscribe(symbols, ({ symbol, timestamp }) => {
  if (timestamp < (newest.get(symbol) ?? 0)) backwards += 1;
  newest.set(symbol, timestamp);
  if (!counting) return;
  prices += 1;
  lateness[Math.max(0, Math.min(lateness.length - 1, Date.now() - timestamp))] += 1;
});

while (newest.size < symbols.length) await new Promise((resolve) => setTimeout(resolve, 50));
const start = memory();
const cpu = process.cpuUsage();
counting = true;
await new Promise((resolve) => setTimeout(resolve, Number(seconds) * 1000));
counting = false;
const used = process.cpuUsage(cpu);
const end = memory();
client.disconnect();

/** The lateness, in milliseconds, that a part of all prices keeps to. */
function quantile(part) {
  let left = prices * part;
  return lateness.findIndex((times) => (left -= times) <= 0);
}

console.log(
  JSON.stringify({
    empty,
    start,
    end,
    backwards,
    perSecond: Math.round(prices / Number(seconds)),
    cpu: Math.round((used.user + used.system) / Number(seconds) / 1e4),
    lateness: { p50: quantile(0.5), p99: quantile(0.99), max: lateness.findLastIndex((times) => times > 0) },
  }),
);
