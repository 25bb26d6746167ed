// Stock clients on every edge, which come back whenever they are lost and say all that they see: chaos.mjs JSON
//
// The argument is a list of {name, edge, url, token, symbols}. Runs until it is killed; a line is an array: name,
// kind, and for prices symbol, value and time, for states symbol and state. `beat` says that this process runs.
import { EventSource } from "eventsource";
import WebSocket from "ws";

import { GENERATIONS, WAYS, tell } from "./market.mjs";

const AGAIN_MS = 300;

/** Socket.IO: `up` once the server has taken the subscription. */
function socket({ name, edge, url, token, symbols }) {
  const client = GENERATIONS["4.8"](`${url}/market-data`, {
    transports: WAYS[edge],
    auth: { token },
    forceNew: true,
    reconnectionDelay: AGAIN_MS,
    reconnectionDelayMax: 2 * AGAIN_MS,
  });
  const subscribe = () => {
    const { id } = client;
    client.emit("subscribe", { symbols }, (answer) => {
      if (id !== client.id) return;
      if (answer.error) setTimeout(() => client.connected && subscribe(), AGAIN_MS);
      else if (answer.subscribed.length < symbols.length) tell([name, "fault", JSON.stringify(answer)]);
      else tell([name, "up"]);
    });
  };
  const price = (best) => tell([name, "price", best.symbol, best.midPrice, best.timestamp]);
  client.on("connect", subscribe);
  client.on("disconnect", () => tell([name, "down"]));
  client.on("connect_error", (error) => {
    // Who is refused by the server, not by the network, is left to come again by itself.
    if (error.data && !client.active) setTimeout(() => client.connect(), AGAIN_MS);
  });
  client.on("snapshot", ({ prices }) => prices.forEach(price));
  client.on("price", price);
  client.on("status", ({ symbol, state }) => tell([name, "state", symbol, state]));
}

/** Server-sent events, begun anew where the browser's manner is to give up for ever. */
function events(client) {
  const { name, url, token, symbols } = client;
  const source = new EventSource(`${url}/market-data/stream?${new URLSearchParams({ symbols: symbols.join(), token })}`);
  source.addEventListener("open", () => tell([name, "up"]));
  source.addEventListener("error", () => {
    tell([name, "down"]);
    if (source.readyState === EventSource.CLOSED) setTimeout(() => events(client), AGAIN_MS);
  });
  source.addEventListener("price", ({ data }) => {
    const best = JSON.parse(data);
    tell([name, "price", best.symbol, best.midPrice, best.timestamp]);
  });
  source.addEventListener("status", ({ data }) => {
    const { symbol, state } = JSON.parse(data);
    tell([name, "state", symbol, state]);
  });
}

const SAY = {
  action: (symbols) => ({ action: "subscribe", symbols }),
  type: (symbols) => ({ type: "subscribe", data: { type: "stock_quotes", symbols } }),
};

/** Plain WebSocket in one of the two languages. */
function plain(client) {
  const { name, edge, url, token, symbols } = client;
  const ws = new WebSocket(`${url.replace("http", "ws")}/ws`, { headers: { Authorization: `Bearer ${token}` } });
  ws.on("open", () => ws.send(JSON.stringify(SAY[edge](symbols))));
  ws.on("error", () => {});
  ws.on("close", () => {
    tell([name, "down"]);
    setTimeout(() => plain(client), AGAIN_MS);
  });
  ws.on("message", (text) => {
    const message = JSON.parse(text);
    const { symbol, price, timestamp, quote, state } = { ...message, ...message.data };
    if (message.status === "subscribed" || message.type === "subscribed") tell([name, "up"]);
    else if (message.type === "status") tell([name, "state", symbol, state]);
    else if (price ?? quote?.price) tell([name, "price", symbol, price ?? quote.price, Date.parse(timestamp)]);
  });
}

const EDGES = { websocket: socket, polling: socket, events, action: plain, type: plain };
for (const client of JSON.parse(process.argv[2])) EDGES[client.edge](client);
setInterval(() => tell(["", "beat"]), 200);
