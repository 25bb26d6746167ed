// Every call and every event of the protocol, by each generation of the client, each way of connecting.
// Arguments: URL, a client's token, a publisher's token, a longer token of the client, somebody else's token.
import { Client, GENERATIONS, WAYS, price, publish, tell, until } from "./market.mjs";

const [url, token, publisher, longer, stranger] = process.argv.slice(2);

async function tour(generation, way) {
  const symbol = `TOUR.${generation}.${way}`.toUpperCase();
  const say = (...numbers) => publish(url, publisher, numbers.map((n) => price(symbol, n)));
  await say(1);
  const client = new Client(generation, way, url, token);
  await client.until("connected");
  const first = client.transport;
  await until(() => way === "polling" || client.transport === "websocket", "the upgrade");

  await client.call("subscribe", { symbols: [symbol.toLowerCase(), "BAD SYMBOL"] });
  await client.until("snapshot");
  for (const n of [2, 3, 4, 5]) await say(n);
  await until(() => client.named("price").at(-1)?.midPrice === 5, "the last price");
  await client.call("subscriptions", {});
  await client.call("ping");
  await client.call("ping", {});
  await client.call("get_quote", { symbol });
  await client.call("unsubscribe", { symbols: [symbol] });
  await say(6);
  await client.call("ping", {});

  await client.call("authenticate", { token: longer });
  await client.call("authenticate", { token: stranger });
  const odd = [
    ["no_such_event", {}],
    ["connect_timeout_of_mine", {}],
    ["subscribe"],
    ["subscribe", null],
    ["subscribe", "EUR/USD"],
    ["subscribe", { symbols: "EUR/USD" }],
    ["subscribe", { symbols: [7] }],
    ["subscribe", { symbols: ["X"], mode: "some" }],
    ["subscribe", { symbols: ["X"], maxRate: -1 }],
    ["subscribe", { symbols: ["X"] }, { symbols: ["Y"] }],
    ["subscribe", { symbols: ["X"], channels: ["gossip"] }],
    ["subscribe", { symbols: [Buffer.from("X")] }],
    ["unsubscribe", 7],
    ["get_quote", {}],
    ["get_quote", { symbol: "BAD SYMBOL" }],
    ["authenticate", { token: 7 }],
    ["authenticate", { token: "garbage" }],
  ];
  const answers = [];
  for (const call of odd) answers.push([call, await client.call(...call)]);
  const last = client.transport;
  client.close();
  return { generation, way, symbol, first, last, seen: client.seen, answers };
}

const ways = Object.keys(GENERATIONS).flatMap((generation) =>
  Object.keys(WAYS).map((way) => [generation, way]),
);
await Promise.all(ways.map(async (pair) => tell(await tour(...pair))));
process.exit(0);
