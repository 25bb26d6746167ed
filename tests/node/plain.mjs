// A tour of the plain WebSocket with the stock client of Node, in both languages; each path once.
// Arguments: URL, a client's token, a publisher's token.
import WebSocket from "ws";
import { price, publish, tell, until } from "./market.mjs";

const [url, token, publisher] = process.argv.slice(2);
const at = (path) => url.replace("http", "ws") + path;
const WAYS = [
  ["action", "/api/v1/market/ws/market-data"],
  ["action", "/ws"],
  ["type", "/api/v1/market/ws/stock-quotes"],
  ["type", "/ws"],
];

class Client {
  constructor(path) {
    this.seen = [];
    this.pings = 0;
    this.socket = new WebSocket(at(path), { headers: { Authorization: `Bearer ${token}` } });
    this.socket.on("message", (data, isBinary) => {
      if (isBinary) throw new Error("binary data came");
      this.seen.push(JSON.parse(data));
    });
    this.socket.on("ping", () => (this.pings += 1));
    this.opened = new Promise((resolve, reject) => this.socket.on("open", resolve).on("error", reject));
    this.closed = new Promise((resolve) => this.socket.on("close", (code) => resolve(code)));
  }

  say(message) {
    this.socket.send(JSON.stringify(message));
  }

  async ask(message) {
    const before = this.seen.length;
    this.say(message);
    await until(() => this.seen.length > before, `the answer to ${JSON.stringify(message)}`);
    return this.seen[before];
  }
}

async function tour(language, path, number) {
  const symbol = `PLAIN.${number}`;
  const say = (...numbers) => publish(url, publisher, numbers.map((n) => price(symbol, n)));
  const call = (name, fields) =>
    language === "action" ? { action: name, ...fields } : { type: name, data: fields };
  const quotes = language === "action" ? { symbols: [symbol] } : { type: "stock_quotes", symbols: [symbol] };
  const priceOf = (message) => message.price ?? message.data?.quote?.price;
  await say(1);
  const client = new Client(path);
  await client.opened;
  const answers = {};
  answers.subscribe = await client.ask(call("subscribe", quotes));
  for (const n of [2, 3, 4]) await say(n);
  await until(() => client.seen.some((message) => priceOf(message) === 4), "the last price");
  const prices = client.seen.filter((message) => priceOf(message) !== undefined);
  answers.quote = await client.ask(call("get_quote", { symbol }));
  answers.state = await client.ask(call(language === "action" ? "get_connection_state" : "subscriptions", {}));
  answers.unsubscribe = await client.ask(call("unsubscribe", quotes));
  await say(5);
  client.socket.send("{");
  answers.malformed = await client.ask(call("ping", {}));
  const extensions = client.socket.extensions;
  client.socket.close(1000);
  return { language, path, symbol, prices, answers, seen: client.seen, extensions, code: await client.closed };
}

async function refused(path, headers) {
  const socket = new WebSocket(at(path), { headers });
  return new Promise((resolve) => {
    socket.on("unexpected-response", (_request, response) => {
      resolve(response.statusCode);
      socket.on("error", () => {});
      socket.terminate();
    });
    socket.on("open", () => resolve(101));
  });
}

const tours = await Promise.all(WAYS.map(([language, path], number) => tour(language, path, number)));
tell({
  tours,
  statuses: {
    none: await refused("/ws", {}),
    bad: await refused("/ws", { Authorization: "Bearer garbage" }),
    query: await refused(`/ws?token=${token}`, {}),
    foreign: await refused("/ws", { Authorization: `Bearer ${token}`, Origin: "http://evil.example" }),
  },
});
process.exit(0);
