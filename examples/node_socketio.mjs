// Watches best prices with the stock Socket.IO client (npm install socket.io-client).
// Usage: node node_socketio.mjs [SYMBOL...]    MARKETSTREAM_URL names the server, MARKETSTREAM_TOKEN the token.
import { io } from "socket.io-client";

const url = process.env.MARKETSTREAM_URL ?? "http://127.0.0.1:8080";
const symbols = process.argv.length > 2 ? process.argv.slice(2) : ["EUR/USD", "AAPL"];

/** The token of the environment, or one that a server in development mode gives to whoever asks. */
async function fetchToken() {
  if (process.env.MARKETSTREAM_TOKEN) return process.env.MARKETSTREAM_TOKEN;
  return (await (await fetch(`${url}/dev/token`)).json()).token;
}

const socket = io(`${url}/market-data`, {
  transports: ["websocket"],
  // Asked for at every connect, so a reconnect never uses a token that has ended.
  auth: (give) => fetchToken().then((token) => give({ token })),
});

// Subscriptions belong to a connection: make them again after every connect.
socket.on("connect", async () => console.log(await socket.emitWithAck("subscribe", { symbols })));

// A refused handshake is not tried again by the client: `data.code` says why.
socket.on("connect_error", (error) => console.error(error.data?.code ?? "UNREACHABLE", error.message));

socket.on("snapshot", ({ prices }) => prices.forEach(show));
socket.on("price", show);
socket.on("status", ({ symbol, state }) => console.log(symbol, "is", state));
socket.on("error", ({ code, message }) => console.error(code, message));
socket.on("token_expiring", async () => socket.emitWithAck("authenticate", { token: await fetchToken() }));

function show({ symbol, bestBid, bestAsk, timestamp }) {
  console.log(symbol, bestBid?.price, bestAsk?.price, timestamp);
}
