// What the stock client of Node sees of an end that comes while it is still sending, several times one after another.
// Arguments: URL of a websocket, what to send ("big": one message of 4 MiB, "many": small ones without end), how often.
// Prints the list of close codes.
import WebSocket from "ws";
import { tell } from "./market.mjs";

const [url, what, times] = process.argv.slice(2);
const BIG = "x".repeat(4 * 1024 * 1024);

function flood(socket) {
  for (let number = 0; number < 500 && socket.readyState === WebSocket.OPEN; number += 1) socket.send("6");
  if (socket.readyState === WebSocket.OPEN) setImmediate(flood, socket);
}

const codes = [];
for (let number = 0; number < Number(times); number += 1) {
  const socket = new WebSocket(url);
  socket.on("error", () => {});
  socket.on("open", () => (what === "big" ? socket.send(BIG) : flood(socket)));
  codes.push(await new Promise((resolve) => socket.on("close", resolve)));
}
tell(codes);
