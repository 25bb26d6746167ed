// Clients whose handshake must fail, and what they see nevertheless.
// Arguments: URL, JSON of {name: auth payload}.
import { Client, GENERATIONS, tell } from "./market.mjs";

const [url, given] = process.argv.slice(2);

async function knock(generation, way, name, auth) {
  const client = new Client(generation, way, url, undefined, auth);
  client.socket.emit("subscribe", { symbols: ["REFUSED"] }, () => client.note("ack"));
  await client.until("connect_error");
  const { connected } = client.socket;
  client.close();
  return { generation, way, name, connected, seen: client.seen };
}

const all = Object.keys(GENERATIONS).flatMap((generation) =>
  ["websocket", "polling"].flatMap((way) =>
    Object.entries(JSON.parse(given)).map(([name, auth]) => [generation, way, name, auth]),
  ),
);
await Promise.all(all.map(async (one) => tell(await knock(...one))));
process.exit(0);
