// Makes the page that the server serves: `node build.mjs [FOLDER]`, by default into the Python package.
//
// The client package is taken from its sources, so that it need not be built, nor its tools installed.
import { readdir, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const target = resolve(process.argv[2] ?? join(here, "../../marketstream/transports/web/static"));

/** The licences of all packages that are inside the bundle, as they ask for. */
async function licences(inputs) {
  const folders = inputs.map((path) => /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1]).filter(Boolean);
  const texts = [...new Set(folders)].sort().map(async (folder) => {
    const { name, version } = JSON.parse(await readFile(join(here, folder, "package.json"), "utf8"));
    const file = (await readdir(join(here, folder))).find((each) => /^licen[cs]e/i.test(each));
    if (!file) throw new Error(`${name} has no licence to pass on`);
    return `${name} ${version}\n\n${(await readFile(join(here, folder, file), "utf8")).trim()}\n`;
  });
  return (await Promise.all(texts)).join(`\n${"-".repeat(72)}\n\n`);
}

const { metafile, outputFiles } = await build({
  absWorkingDir: here,
  entryPoints: { app: "src/main.ts" },
  outdir: target,
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  legalComments: "none",
  metafile: true,
  write: false,
  logLevel: "warning",
  // The server ships it, beside the style.
  external: ["favicon.svg"],
  // Found here, not beside the sources of the client package, which tsconfig.json leads to.
  alias: { "socket.io-client": "socket.io-client" },
});

const files = new Map(outputFiles.map((file) => [relative(target, file.path), file.contents]));
files.set("index.html", await readFile(join(here, "index.html")));
files.set("licences.txt", Buffer.from(await licences(Object.keys(metafile.inputs))));

await rm(target, { recursive: true, force: true });
await mkdir(target, { recursive: true });
for (const [name, contents] of files) {
  await writeFile(join(target, name), contents);
  const packed = gzipSync(contents, { level: 9 }).length;
  console.log(`page: ${name} ${contents.length} bytes, ${packed} compressed`);
}
