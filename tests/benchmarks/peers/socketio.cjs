// What a front-end team would pick instead: Socket.IO's own server for Node, as its manual shows it.
//
//     node socketio.cjs PORT SYMBOLS RATE burst|spread
//
// Publishes SYM0 to SYM(SYMBOLS-1), each RATE times a second: all together, or one after the other.
const { createServer } = require("node:http");
const { Server } = require("socket.io");

const [port, symbols, rate] = process.argv.slice(2, 5).map(Number);
const together = process.argv[5] === "burst";
const stepMs = 1000 / (together ? rate : rate * symbols);
const patience = Math.max(1, 1000 / stepMs); // steps that are made up for

const http = createServer();
const market = new Server(http, { perMessageDeflate: false }).of("/market-data");

market.on("connection", (socket) => {
  socket.on("subscribe", (wish, acknowledge) => {
    socket.join(wish.symbols.map((symbol) => `symbol:${symbol}`));
    acknowledge({ subscribed: wish.symbols });
  });
});

function publish(index, step) {
  const middle = 150.26 + (step % 1000) / 100;
  market.to(`symbol:SYM${index}`).emit("price", {
    symbol: `SYM${index}`,
    bestBid: { price: middle - 0.01, size: 100, source: "synthetic" },
    bestAsk: { price: middle + 0.01, size: 200, source: "synthetic" },
    midPrice: middle,
    spread: 0.02,
    spreadBps: 1.331,
    timestamp: Date.now(),
  });
}

let step = 0;
let startedAt = performance.now();

function run() {
  const due = Math.floor((performance.now() - startedAt) / stepMs);
  if (due > step + patience) {
    startedAt += (due - step) * stepMs; // what was missed is skipped, not flooded
  } else if (due > step) {
    step += 1;
    if (together) for (let index = 0; index < symbols; index += 1) publish(index, step);
    else publish(step % symbols, step);
  }
  const wait = startedAt + (step + 1) * stepMs - performance.now();
  if (wait > 0) setTimeout(run, wait);
  else setImmediate(run);
}

http.listen(port, "127.0.0.1", run);
