// The stock EventSource: reads, loses its connection, and comes back by itself with what it knows.
// Arguments: URL, a client's token, a publisher's token, two symbols.
import { EventSource } from "eventsource";
import { price, publish, tell, until } from "./market.mjs";

const [url, token, publisher, one, other] = process.argv.slice(2);
const requests = [];
let cut;

/** Fetches like any other client, and can lose the connection when told to. */
async function fetch_and_cut(input, init) {
  requests.push({ ...init.headers });
  const response = await fetch(input, {
    ...init,
    headers: { ...init.headers, Authorization: `Bearer ${token}` },
  });
  const reader = response.body.getReader();
  const body = new ReadableStream({
    start(controller) {
      cut = async () => {
        controller.close();
        await reader.cancel();
      };
      const pump = async () => {
        const { done, value } = await reader.read().catch(() => ({ done: true }));
        if (done) return;
        controller.enqueue(value);
        await pump();
      };
      pump().catch(() => {});
    },
  });
  const answer = new Response(body, { status: response.status, headers: response.headers });
  Object.defineProperty(answer, "url", { value: response.url });
  return answer;
}

const say = (symbol, n) => publish(url, publisher, [price(symbol, n)]);
await say(one, 1);
await say(other, 1);

const query = `symbols=${encodeURIComponent(one)},${encodeURIComponent(other)}`;
const source = new EventSource(`${url}/market-data/stream?${query}`, { fetch: fetch_and_cut });
let seen = [];
let opened = 0;
source.addEventListener("open", () => (opened += 1));
source.addEventListener("price", (event) => seen.push({ id: event.lastEventId, ...JSON.parse(event.data) }));
await until(() => seen.length === 2, "the current values");
await say(one, 2);
await until(() => seen.length === 3, "the live value");
tell({ phase: "first", seen });

seen = [];
await cut();
await until(() => opened === 2, "the reconnect");
await say(one, 3);
await until(() => seen.some((best) => best.midPrice === 3), "a live value after the reconnect");
tell({ phase: "unchanged", seen });

seen = [];
const gone = opened;
await cut();
await say(other, 2);
await until(() => opened === gone + 1, "the second reconnect");
await until(() => seen.length > 0, "what changed meanwhile");
await say(one, 4);
await until(() => seen.at(-1)?.midPrice === 4, "a live value after the second reconnect");
tell({ phase: "changed", seen, requests });
source.close();
process.exit(0);
