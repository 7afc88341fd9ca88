import { expect, test } from "vitest";
import { providers } from "./providers";

const engine = { ok: true, kind: "engine", detail: "2 CPU threads, no GPU", latency_ms: null };
const server = { ok: true, kind: "server", detail: "den answers, 3 models; attic cannot be reached", latency_ms: 4 };

test("those in use are told, what is ill first, each host on its line", () => {
  const told = providers({ llama_cpp: engine, mlx: { ...engine, ok: false }, openai: { ...server, down: ["attic"] } }, new Set(["llama_cpp", "openai"]));
  expect(told.map((each) => [each.name, each.tone, each.state])).toEqual([["openai", "warn", "attic down"], ["llama_cpp", "good", "well"]]);
  expect(told[0]?.lines).toEqual(["den answers, 3 models", "attic cannot be reached"]);
});

test("a server that was named is told though its models are not here, one that was not is not", () => {
  const down = { ...server, ok: false, latency_ms: null };
  expect(providers({ lmstudio: { ...down, detail: "pc is not running" }, ollama: { ...down, detail: "not configured" } }, new Set()).map((each) => [each.name, each.tone])).toEqual([["lmstudio", "bad"]]);
});
