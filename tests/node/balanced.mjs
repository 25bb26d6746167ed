// Stock clients behind a load balancer, which come back by themselves and say all that happens to them.
// Arguments: URL, token, symbol, JSON of {way: number of clients}. Runs until it is killed; one line an event.
import { EventSource } from "eventsource";
import { GENERATIONS, WAYS, tell, until } from "./market.mjs";

const [url, token, symbol, wanted] = process.argv.slice(2);

/** A Socket.IO client as the documentation shows it: it subscribes again whenever it is connected. */
function socket(way, say) {
  const client = GENERATIONS["4.8"](`${url}/market-data`, {
    transports: WAYS[way],
    auth: { token },
    forceNew: true,
    reconnectionDelay: 100,
    reconnectionDelayMax: 200,
  });
  client.io.on("open", () => client.io.engine.once("upgrade", () => say("upgrade")));
  client.on("connect", () => {
    say("connect");
    client.emit("subscribe", { symbols: [symbol] }, () => {});
  });
  client.on("disconnect", (reason) => say("disconnect", reason));
  client.on("connect_error", (error) => say("connect_error", error.message));
  client.on("snapshot", ({ prices }) => say("snapshot", prices[0]?.midPrice ?? 0));
  client.on("price", (best) => say("price", best.midPrice));
  client.on("notice", (data) => say("notice", data));
}

/** An EventSource with the token where a browser's can only have it. */
function events(say) {
  const query = new URLSearchParams({ symbols: symbol, token });
  const source = new EventSource(`${url}/market-data/stream?${query}`);
  source.addEventListener("open", () => say("connect"));
  source.addEventListener("error", (event) => say(event.code ? "connect_error" : "disconnect", event.message ?? null));
  source.addEventListener("price", (event) => say("price", JSON.parse(event.data).midPrice));
}

for (const [way, count] of Object.entries(JSON.parse(wanted))) {
  for (let n = 1; n <= count; n += 1) {
    let priced = false;
    const say = (event, data = null) => {
      priced ||= event === "price" || event === "snapshot";
      tell({ client: `${way} ${n}`, event, data });
    };
    if (way === "events") events(say);
    else socket(way, say);
    // One after the other, so that a balancer that counts connections spreads them evenly.
    await until(() => priced, `the first price of ${way}`);
  }
}
tell({ client: "all", event: "ready", data: null });
