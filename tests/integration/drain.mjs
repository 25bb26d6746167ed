// A stock client that wants to come back: tells how it was sent away and that it tries again.
// Arguments: URL, token, how to connect. Prints "connected" and then what happened.
import { GENERATIONS, WAYS, tell, until } from "../node/market.mjs";

const [url, token, way] = process.argv.slice(2);
let reason;
let tries = 0;
const socket = GENERATIONS["4.8"](`${url}/market-data`, { transports: WAYS[way], auth: { token }, reconnectionDelay: 50 });
socket.on("connect", () => socket.emit("subscribe", { symbols: ["EUR/USD"] }, () => tell("subscribed")));
socket.on("disconnect", (why) => (reason ??= why));
socket.io.on("reconnect_attempt", () => (tries += 1));
await until(() => reason && tries > 0, "the end of the connection and another try", 20000);
tell({ reason, active: socket.active });
socket.disconnect();
process.stdout.write("", () => process.exit(0));
