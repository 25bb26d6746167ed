import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

import { build } from "esbuild";
import { expect, test } from "vitest";

const BUDGET = 6_250;

/** What is loaded only by those who ask for server-sent events by name, or for events. */
const LOADED = ["./transports/sse.js", "./events.js", "./personal.js"];

/** Bytes of an entry, minified and compressed, without what it does not carry itself. */
async function size(entry: string): Promise<number> {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL(`../src/${entry}.ts`, import.meta.url))],
    bundle: true,
    minify: true,
    write: false,
    format: "esm",
    target: "es2022",
    external: ["socket.io-client", "react", ...(entry.endsWith("sse") ? LOADED.slice(1) : LOADED)],
  });
  return gzipSync(outputFiles[0]?.contents ?? "", { level: 9 }).length;
}

test.each(["index", "sse"])("the entry %s keeps to its budget", async (entry) => {
  const bytes = await size(entry);
  expect(bytes).toBeGreaterThan(1_000);
  expect(bytes).toBeLessThan(BUDGET);
});

test.each(["events", "transports/personal"])("what %s adds for those who ask for events is small", async (module) => {
  expect(await size(module)).toBeLessThan(2_500);
});

test("the hooks are small", async () => {
  expect(await size("react")).toBeLessThan(1_500);
});

test("the entry of server-sent events carries no Socket.IO", async () => {
  const { metafile } = await build({
    entryPoints: [fileURLToPath(new URL("../src/sse.ts", import.meta.url))],
    bundle: true,
    write: false,
    metafile: true,
    format: "esm",
  });
  expect(Object.keys(metafile.inputs).filter((path) => path.includes("socket.io"))).toEqual([]);
});
