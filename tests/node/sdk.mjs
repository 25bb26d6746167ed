// The TypeScript SDK with two consumers that share a symbol, telling all that happens: sdk.mjs URL TRANSPORT
//
// SYMBOLS holds three symbols, the one in the middle is the shared one. TOKENS is a JSON list: with one token
// it never changes, with several each is given once and the last for ever. OPTIONS is JSON for the client, and
// IDLE_TIMEOUT_MS that of server-sent events. It runs until it is ended.
import { MarketDataClient } from "../../sdk/typescript/dist/index.js";
import { sse } from "../../sdk/typescript/dist/sse.js";

const [url, transport] = process.argv.slice(2);
const [first, shared, last] = process.env.SYMBOLS.split(",");
const tokens = JSON.parse(process.env.TOKENS);
const tell = (...entry) => console.log(JSON.stringify(entry));

const client = new MarketDataClient({
  url,
  transport: transport === "sse" ? sse({ idleTimeoutMs: Number(process.env.IDLE_TIMEOUT_MS ?? 40_000) }) : transport,
  ...(tokens.length === 1 ? { token: tokens[0] } : { getToken: () => (tell("token"), tokens.length > 1 ? tokens.shift() : tokens[0]) }),
  ...JSON.parse(process.env.OPTIONS ?? "{}"),
});
client.onState((state, error) => tell("state", state, error?.code ?? null, error?.message ?? null));
client.onError((error) => tell("error", error.name, error.code, error.message));
client.onStatus(({ symbol, state }) => tell("status", symbol, state));

const consumer = (name) => (price) => tell("price", name, price.symbol, price.midPrice, price.timestamp);
client.subscribe([first, shared], consumer("one"));
client.subscribe([shared, last], consumer("two"), transport === "sse" ? {} : { mode: "every" });
