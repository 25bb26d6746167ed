// Watches events with the TypeScript SDK (npm install @marketstream/client).
// Usage: node events_sdk.mjs [TYPE...]    MARKETSTREAM_URL names the server, MARKETSTREAM_TOKEN the token.
//
// Publish some: curl -H "Authorization: Bearer TOKEN" -H "Content-Type: application/json" \
//   -d '{"type": "pattern", "name": "wedge", "symbol": "AAPL", "confidence": 0.8, "data": {"target": 210}}' URL/api/v1/events
import { MarketDataClient } from "@marketstream/client";

const url = process.env.MARKETSTREAM_URL ?? "http://127.0.0.1:8080";
const types = process.argv.length > 2 ? process.argv.slice(2) : ["pattern", "alert"];

/** The token of the environment, or one that a server in development mode gives to whoever asks. */
async function getToken() {
  if (process.env.MARKETSTREAM_TOKEN) return process.env.MARKETSTREAM_TOKEN;
  return (await (await fetch(`${url}/dev/token`)).json()).token;
}

// Over server-sent events with `transport: "sse"`.
const client = new MarketDataClient({ url, getToken });

client.onState((state, error) => console.error(state, error?.message ?? ""));
client.onError((error) => console.error(error.code, error.message));
client.onEventsDropped((count) => console.error(count, "events were left out: too many at a time"));

const show = ({ priority, type, name, symbol, data }) =>
  console.log(priority, type, name, symbol ?? "-", JSON.stringify(data));

// What everybody gets, whatever they subscribed to, comes here too. The server keeps the subscription under its
// name for this user; the SDK makes it again where a server has forgotten it.
const leave = client.subscribeEvents("events_sdk", { types, minConfidence: 0.5 }, show);

// Told to stop it takes the subscription back, and has a second for that.
process.once("SIGINT", () => {
  leave();
  setTimeout(() => process.exit(), 1_000);
});
