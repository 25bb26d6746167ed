// Microsoft's reader of event streams over fetch: reports every event it tells of, and ends with the second price.
// Arguments: URL of the stream, a token.
import { fetchEventSource } from "@microsoft/fetch-event-source";
import { tell } from "./market.mjs";

// It was written for browsers.
globalThis.window = globalThis;
globalThis.document = { hidden: false, addEventListener() {}, removeEventListener() {} };

const [url, token] = process.argv.slice(2);
await fetchEventSource(url, {
  headers: { Authorization: `Bearer ${token}` },
  openWhenHidden: true,
  onmessage({ event, data }) {
    const { midPrice: middle } = JSON.parse(data || "{}");
    tell({ event, middle });
    if (middle === 2) process.exit(0);
  },
});
tell({ event: "the end" });
process.exit(1);
