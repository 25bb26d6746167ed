// One client that wants every price of a tape and one that wants the newest, side by side.
// Arguments: how to connect, and each symbol as SYMBOL=COUNT, how many prices it has on the tape.
// Environment: MARKET_URL, MARKET_TOKEN.
import { Client, tell, until } from "../node/market.mjs";

const [way, ...words] = process.argv.slice(2);
const wanted = words.map((word) => word.split("="));
const symbols = wanted.map(([symbol]) => symbol);
const total = wanted.reduce((sum, [, count]) => sum + Number(count), 0);

function prices(client) {
  const found = {};
  const note = (price) => (found[price.symbol] ??= []).push(price);
  for (const [name, data] of client.seen) {
    if (name === "snapshot") data.prices.forEach(note);
    if (name === "price") note(data);
  }
  return found;
}

const enter = async () => {
  const client = new Client("4.8", way, process.env.MARKET_URL, process.env.MARKET_TOKEN);
  await client.until("connected");
  return client;
};
const latest = await enter();
const every = await enter();
// The tape starts with the first subscriber, who therefore misses nothing; the other joins when it may be over.
await every.call("subscribe", { symbols, mode: "every" });
await latest.call("subscribe", { symbols });
await until(() => every.named("price").length >= total, `${total} prices`, 30000);
const newest = (client) => symbols.map((symbol) => prices(client)[symbol]?.at(-1).timestamp).join();
await until(() => newest(latest) === newest(every), "the last prices");
for (const client of [latest, every]) {
  tell({ lagged: client.named("lagged").length, prices: prices(client) });
  client.close();
}
// What is printed is more than a pipe holds.
process.stdout.write("", () => process.exit(0));
