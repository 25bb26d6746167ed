// Watches best prices with the TypeScript SDK (npm install @marketstream/client).
// Usage: node node_sdk.mjs [SYMBOL...]    MARKETSTREAM_URL names the server, MARKETSTREAM_TOKEN the token.
import { MarketDataClient } from "@marketstream/client";

const url = process.env.MARKETSTREAM_URL ?? "http://127.0.0.1:8080";
const symbols = process.argv.length > 2 ? process.argv.slice(2) : ["EUR/USD", "AAPL"];

/** The token of the environment, or one that a server in development mode gives to whoever asks. */
async function getToken() {
  if (process.env.MARKETSTREAM_TOKEN) return process.env.MARKETSTREAM_TOKEN;
  return (await (await fetch(`${url}/dev/token`)).json()).token;
}

// Asked for a token at every connect and before one ends; reconnects and subscribes again by itself.
// With `transport: "sse"` the same over server-sent events.
const client = new MarketDataClient({ url, getToken });

client.onState((state, error) => console.error(state, error?.message ?? ""));
client.onError((error) => console.error(error.message));
client.onStatus(({ symbol, state }) => console.log(symbol, "is", state));

client.subscribe(symbols, ({ symbol, bestBid, bestAsk, timestamp }) => {
  console.log(symbol, bestBid?.price, bestAsk?.price, timestamp);
});
