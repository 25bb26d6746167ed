import { defineConfig, type Options } from "tsup";

const shared: Options = {
  entry: { index: "src/index.ts", react: "src/react.ts", sse: "src/sse.ts" },
  target: "es2022",
  dts: true,
};

// Modules share what entries have in common; a CommonJS entry is one file and has its own copy.
export default defineConfig([
  { ...shared, format: "esm", splitting: true, clean: ["dist/*.js", "dist/*.d.ts"] },
  { ...shared, format: "cjs", splitting: false, clean: ["dist/*.cjs", "dist/*.d.cts"] },
]);
