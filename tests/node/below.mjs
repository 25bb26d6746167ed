// The TypeScript SDK below a path: one price and one quote by each transport. Argument: URL. Environment: SDK, TOKEN.
import { tell } from "./market.mjs";

const { MarketDataClient, socketio } = await import(`${process.env.SDK}/dist/index.js`);
const url = process.argv[2];
const transports = {
  websocket: socketio({ transports: ["websocket"] }),
  polling: socketio({ transports: ["polling"] }),
  sse: "sse",
};
for (const [name, transport] of Object.entries(transports)) {
  const client = new MarketDataClient({ url, token: process.env.TOKEN, transport });
  const price = await new Promise((resolve, reject) => {
    client.onError(reject);
    client.subscribe("EUR/USD", ({ symbol }) => resolve(symbol));
  });
  const { symbol: quote } = await client.getQuote("EUR/USD");
  tell({ transport: name, price, quote });
  client.disconnect();
}
process.exit(0);
