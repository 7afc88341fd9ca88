import { afterEach, expect, test, vi } from "vitest";
import { askAll, type Outcome } from "./probes";
import type { ConnectProbe } from "../../lib/types";

const probes: ConnectProbe[] = [
  { name: "lists", method: "GET", path: "/v1/models", expect: '"object"' },
  { name: "chats", method: "POST", path: "/v1/chat/completions", body: { model: "m" }, expect: "choices" },
  { name: "more", method: "GET", path: "/health" },
];

async function run(replies: Response[], key?: string): Promise<{ ok: boolean; heard: Outcome[]; asked: [string, RequestInit][] }> {
  const asked: [string, RequestInit][] = [];
  vi.stubGlobal("fetch", async (path: string, init: RequestInit) => (asked.push([path, init]), replies.shift()!));
  const heard: Outcome[] = [];
  const ok = await askAll(probes, key, new AbortController().signal, (_, outcome) => heard.push(outcome));
  return { ok, heard, asked };
}

afterEach(() => vi.unstubAllGlobals());

test("all are asked in order, with the key and without the session's cookie", async () => {
  const { ok, heard, asked } = await run([new Response('{"object":"list"}'), new Response('{"choices":[]}'), new Response("ok")], "sk-lan-1");
  expect(ok).toBe(true);
  expect(heard.map((each) => each.ok)).toEqual([true, true, true]);
  expect(asked.map(([path]) => path)).toEqual(["/v1/models", "/v1/chat/completions", "/health"]);
  expect(asked[1]![1]).toMatchObject({ method: "POST", credentials: "omit", body: '{"model":"m"}' });
  expect(asked[1]![1].headers).toMatchObject({ "x-api-key": "sk-lan-1" });
});

test("the first failure ends it, in the server's own words", async () => {
  const refused = new Response('{"error":{"message":"No model is loaded.","hint":"lanhaven load m"}}', { status: 404 });
  const { ok, heard, asked } = await run([new Response('{"object":"list"}'), refused]);
  expect(ok).toBe(false);
  expect(asked).toHaveLength(2);
  expect(heard[1]).toMatchObject({ ok: false, message: "No model is loaded.", hint: "lanhaven load m" });
});

test("an answer that is not the expected one is a failure that shows it", async () => {
  const { heard } = await run([new Response("<html>a proxy's page</html>")]);
  expect(heard[0]).toMatchObject({ ok: false, message: 'The answer does not hold "object".', hint: "<html>a proxy's page</html>" });
});
