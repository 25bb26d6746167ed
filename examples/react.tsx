// A table of best prices in React (npm install @marketstream/client react react-dom), for any bundler.
// The page finds the server in its address: ?server=http://127.0.0.1:8080&symbols=EUR/USD,AAPL
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";

import { MarketDataClient } from "@marketstream/client";
import { useConnectionState, useMarketData, usePrice } from "@marketstream/client/react";

const query = new URLSearchParams(location.search);
const url = query.get("server") ?? "http://127.0.0.1:8080";
const symbols = (query.get("symbols") ?? "EUR/USD,AAPL,BTC/USD").split(",");

// One client for the whole application: it connects with the first subscription and shares it among components.
const client = new MarketDataClient({
  url,
  // A server in development mode gives a token to whoever asks; in production your own back end does.
  getToken: async () => (await (await fetch(`${url}/dev/token`)).json()).token,
});

function Table() {
  // Renders once a frame at most, however fast the market is.
  const prices = useMarketData(client, symbols);
  return (
    <table>
      <thead>
        <tr><th>Symbol</th><th>Bid</th><th>Ask</th><th>Spread, bps</th></tr>
      </thead>
      <tbody id="rows">
        {[...prices.values()].map(({ symbol, bestBid, bestAsk, spreadBps }) => (
          <tr key={symbol}>
            <td>{symbol}</td><td>{bestBid?.price}</td><td>{bestAsk?.price}</td><td>{spreadBps}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Headline() {
  // Shares the subscription of the table: the server is asked for a symbol once.
  return <h1>{usePrice(client, symbols[0])?.midPrice ?? "…"}</h1>;
}

function State() {
  return <p id="note">{useConnectionState(client)}</p>;
}

createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <Headline />
    <Table />
    <State />
  </StrictMode>,
);
