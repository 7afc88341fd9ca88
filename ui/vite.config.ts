import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vitest/config";

// `npm run dev` serves the page with hot reload and asks a LanHaven for everything else. Which one: LANHAVEN_URL.
const server = process.env.LANHAVEN_URL ?? "http://127.0.0.1:8002";
const routes = ["/admin", "/debug", "/v1", "/api", "/health", "/ui/session", "/ui/link", "/ca.crt"];

export default defineConfig({
  base: "/ui/",
  plugins: [svelte()],
  build: {
    outDir: "../src/lanhaven/server/ui",
    emptyOutDir: true,
    target: "es2023",
    // The page's policy allows no data: scripts or styles, and a small file of its own costs nothing on a LAN.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  // Host stays as the browser said it: the server refuses pages of other origins.
  server: { proxy: Object.fromEntries(routes.map((path) => [path, { target: server }])) },
  test: { include: ["src/**/*.test.ts"] },
});
