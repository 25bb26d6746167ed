// The page of the tests of the TypeScript SDK: page?server=URL&transport=socketio|sse&symbols=A,B
import { StrictMode, useState } from "react";
import { createRoot } from "react-dom/client";

import { type BestPrice, MarketDataClient } from "@marketstream/client";
import { useConnectionState, useMarketData } from "@marketstream/client/react";

declare global {
  interface Window {
    /** Every state, how often the table was rendered, prices that came back or twice, and what failed. */
    seen: { states: string[]; renders: number; prices: number; backwards: string[]; errors: string[] };
  }
}

const query = new URLSearchParams(location.search);
const server = query.get("server") ?? "";
const client = new MarketDataClient({
  url: server,
  transport: query.get("transport") === "sse" ? "sse" : "socketio",
  getToken: async () => ((await (await fetch(`${server}/dev/token`)).json()) as { token: string }).token,
  reconnection: { attempts: 0, delayMs: 300, maxDelayMs: 600 },
});
const seen: Window["seen"] = { states: [], renders: 0, prices: 0, backwards: [], errors: [] };
window.seen = seen;
client.onState((state) => seen.states.push(state));
client.onError((error) => seen.errors.push(String(error)));

const newest = new Map<string, BestPrice>();
client.subscribe("EUR/USD", (price) => {
  const last = newest.get(price.symbol);
  if (last && (price.timestamp < last.timestamp || JSON.stringify(price) === JSON.stringify(last))) {
    seen.backwards.push(`${JSON.stringify(last)} then ${JSON.stringify(price)}`);
  }
  newest.set(price.symbol, price);
  seen.prices += 1;
});

function Table({ symbols, remove }: { symbols: string[]; remove: (symbol: string) => void }): React.ReactElement {
  const prices = useMarketData(client, symbols);
  seen.renders += 1;
  return (
    <table>
      <tbody>
        {symbols.map((symbol) => (
          <tr key={symbol}>
            <th>{symbol}</th>
            <td>{prices.get(symbol)?.bestBid?.price}</td>
            <td>{prices.get(symbol)?.bestAsk?.price}</td>
            <td>{prices.get(symbol)?.timestamp}</td>
            <td>
              <button onClick={() => remove(symbol)}>Remove {symbol}</button>
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Page(): React.ReactElement {
  const state = useConnectionState(client);
  const [symbols, setSymbols] = useState((query.get("symbols") ?? "").split(","));
  const add = (form: FormData): void => setSymbols([...symbols, String(form.get("symbol"))]);
  return (
    <>
      <p id="state">{state}</p>
      <form action={add}>
        <input name="symbol" aria-label="Symbol" />
        <button>Add</button>
      </form>
      <Table symbols={symbols} remove={(gone) => setSymbols(symbols.filter((symbol) => symbol !== gone))} />
    </>
  );
}

createRoot(document.getElementById("root") as HTMLElement).render(
  <StrictMode>
    <Page />
  </StrictMode>,
);
