// Clients that move from polling to websocket while prices count up without a pause.
// Arguments: URL, a client's token, a publisher's token, clients of each kind.
import { Client, GENERATIONS, price, publish, tell, until } from "./market.mjs";

const [url, token, publisher, count] = process.argv.slice(2);
const SYMBOL = "UPGRADE";
let published = 0;
let running = true;

async function count_up() {
  while (running) {
    const numbers = [1, 2, 3].map((step) => published + step);
    await publish(url, publisher, numbers.map((n) => price(SYMBOL, n)));
    published = numbers.at(-1);
  }
}

async function climb(generation, mode) {
  const client = new Client(generation, "upgrade", url, token);
  let before = 0;
  client.socket.io.engine.on("upgrade", () => (before = client.named("price").length));
  await client.until("connect");
  client.socket.emit("subscribe", { symbols: [SYMBOL], mode }, () => {});
  await until(() => client.transport === "websocket", "the upgrade");
  await client.until("price", before + 30);
  return { client, generation, mode, before };
}

const counting = count_up();
await until(() => published > 0, "the first price");
const kinds = Object.keys(GENERATIONS).flatMap((generation) =>
  ["every", "latest"].flatMap((mode) => Array(Number(count)).fill([generation, mode])),
);
const climbed = await Promise.all(kinds.map((kind) => climb(...kind)));
running = false;
await counting;
for (const { client, generation, mode, before } of climbed) {
  await until(() => client.named("price").at(-1)?.midPrice === published, "the last price");
  const [snapshot] = client.named("snapshot");
  tell({
    generation,
    mode,
    before,
    order: client.seen.map(([name]) => name).filter((name) => ["snapshot", "price", "lagged"].includes(name)),
    snapshot: snapshot.prices[0].midPrice,
    prices: client.named("price").map((best) => best.midPrice),
    published,
  });
  client.close();
}
process.exit(0);
