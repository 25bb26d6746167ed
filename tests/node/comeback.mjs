// Stock clients that find the server full or going down, and must come back by themselves.
// Arguments: URL, token, kinds separated by commas. One line an event; runs until it is killed.
import { EventSource } from "eventsource";
import { GENERATIONS, WAYS, tell } from "./market.mjs";

const [url, token, kinds] = process.argv.slice(2);

function events(path) {
  const source = new EventSource(`${url}${path}${new URLSearchParams({ token })}`);
  source.addEventListener("error", (event) => {
    if (event.data) tell({ kind: "events", event: "refused", code: JSON.parse(event.data).code });
    else if (source.readyState === EventSource.CLOSED) tell({ kind: "events", event: "given up" });
  });
  source.addEventListener("price", () => tell({ kind: "events", event: "price" }));
}

function socket(way) {
  const client = GENERATIONS["4.8"](`${url}/market-data`, {
    transports: WAYS[way],
    auth: { token },
    forceNew: true,
    reconnectionDelay: 200,
    reconnectionDelayMax: 400,
  });
  client.on("connect", () => tell({ kind: way, event: "connect" }));
  client.on("connect_error", (error) => tell({ kind: way, event: "refused", code: error.data?.code ?? null }));
}

for (const kind of kinds.split(",")) {
  if (kind === "events") events("/market-data/stream?symbols=AAPL&");
  else socket(kind);
}
