// Events through the TypeScript SDK, telling all that happens: sdkevents.mjs URL TRANSPORT
//
// TOKEN is the token. Two consumers share the subscription `patterns`; the one called `one` leaves when an event is
// named `first`, the other when one is named `last`. A third wants another filter under that name, a fourth a filter
// that there is not. It runs until it is ended.
import { MarketDataClient } from "../../sdk/typescript/dist/index.js";

const [url, transport] = process.argv.slice(2);
const tell = (...entry) => console.log(JSON.stringify(entry));

const client = new MarketDataClient({ url, transport, token: process.env.TOKEN, reconnection: { delayMs: 200, attempts: 0, maxDelayMs: 400 } });
client.onState((state) => tell("state", state));
client.onError((error) => tell("error", error.name, error.code));
client.onEvent(({ id, data }) => tell("everybody", id, data));
client.onEventsDropped((count) => tell("dropped", count));

const consumer = (name, farewell) => {
  const leave = client.subscribeEvents("patterns", { types: ["pattern"], minConfidence: 0.5 }, (event) => {
    tell("event", name, event.id, event.data);
    if (event.name === farewell) leave();
  });
};
consumer("one", "first");
consumer("two", "last");

const refused = (name) => ({ onError: (error) => tell("refused", name, error.code, error.message) });
client.subscribeEvents("patterns", { types: ["alert"] }, () => {}, refused("patterns"));
client.subscribeEvents("bad", { typs: ["pattern"] }, () => {}, refused("bad"));
