// The TypeScript SDK's reader of server-sent events on any server: reference.mjs URL COUNT
//
// Tells the price of each event of EUR/USD, and ends with the COUNT-th.
import { MarketDataClient, sse } from "../../sdk/typescript/dist/sse.js";

const [url, count] = process.argv.slice(2);
const client = new MarketDataClient({ url, token: "t", transport: sse({ idleTimeoutMs: 10_000 }) });
let left = Number(count);
client.onError(({ code, message }) => console.log(JSON.stringify(["error", code, message])));
client.subscribe(["EUR/USD"], ({ timestamp }) => {
  console.log(JSON.stringify(["price", timestamp]));
  if (--left === 0) client.disconnect();
});
