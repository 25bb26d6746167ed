import { fileURLToPath } from "node:url";

import { defineConfig } from "vitest/config";

const installed = (path: string): string => fileURLToPath(new URL(`node_modules/${path}`, import.meta.url));

// As the build does it: the client package from its sources, and what they need from here.
export default defineConfig({
  resolve: {
    alias: {
      "@marketstream/client": installed("@marketstream/client/src/index.ts"),
      "socket.io-client": installed("socket.io-client"),
    },
  },
  test: { include: ["test/**/*.test.ts"] },
});
