import { expect, test } from "vitest";
import { program, readable, shell } from "./code";
import { messages, replayOf, requestBody } from "./request";
import { fields, NONE, settingsOf, TOOLS_EXAMPLE, wrong } from "./settings";

const said = (text: string) => ({ text, reasoning: "", calls: [] });
const turn = (question: string, ...columns: string[]) => ({ question, pictures: [], columns: columns.map((text) => (text ? [said(text)] : [])) });

test("a conversation becomes messages, each column its own", () => {
  const turns = [turn("one?", "1", "uno"), turn("lost?", ""), turn("two?", "", "")];
  expect(messages(turns, 1, "Be brief.")).toEqual([
    { role: "system", content: "Be brief." },
    { role: "user", content: "one?" },
    { role: "assistant", content: "uno" },
    { role: "user", content: "two?" },
  ]);
  expect(messages([turn("one?", "1"), turn("two?", "")], 1, "")[1]).toEqual({ role: "assistant", content: "1" });
});

test("calls and their results, and images", () => {
  const call = { id: "c1", name: "add", arguments: '{"a":1}', result: "2" };
  const steps = [{ text: "", reasoning: "hm", calls: [call] }];
  const made = messages([{ question: "see", pictures: [{ name: "x", url: "data:image/png;base64,AA" }], columns: [steps] }], 0, "");
  expect(made).toEqual([
    { role: "user", content: [{ type: "image_url", image_url: { url: "data:image/png;base64,AA" } }, { type: "text", text: "see" }] },
    { role: "assistant", content: null, tool_calls: [{ id: "c1", type: "function", function: { name: "add", arguments: '{"a":1}' } }] },
    { role: "tool", tool_call_id: "c1", content: "2" },
  ]);
});

test("images of earlier questions are left out for a model that cannot see", () => {
  const pictures = [{ name: "x", url: "data:image/png;base64,AA" }];
  const seen = (question: string, answer: string) => ({ ...turn(question, answer), pictures });
  const contents = messages([seen("", "a cat"), seen("see", "")], 0, "", false).map((each) => each.content);
  expect(contents).toEqual(["(an image)", "a cat", [{ type: "image_url", image_url: { url: "data:image/png;base64,AA" } }, { type: "text", text: "see" }]]);
});

test("settings: only what was typed, and what is wrong is said", () => {
  const typed = { ...NONE, temperature: "0", topK: "40", maxTokens: "8", stop: "a\n\nb", tools: TOOLS_EXAMPLE, schema: '{"type":"object"}' };
  expect(fields(NONE)).toEqual({});
  expect(wrong(typed)).toEqual({});
  expect(fields(typed)).toMatchObject({ temperature: 0, top_k: 40, max_tokens: 8, stop: ["a", "b"], tools: [{ type: "function", function: { name: "get_weather" } }] });
  const back = settingsOf(fields(typed));
  expect(back).toEqual({ ...typed, stop: "a\nb", schema: back.schema });
  expect(JSON.parse(back.schema)).toEqual({ type: "object" });
  const bad = wrong({ ...NONE, temperature: "hot", topK: "1.5", topP: "7", schema: "{", tools: "{}" });
  expect(Object.keys(bad).sort()).toEqual(["schema", "temperature", "tools", "topK", "topP"]);
});

test("a request of somebody else comes back as a conversation", () => {
  const body = requestBody("m", messages([turn("one?", "1"), turn("two?", "")], 0, "Sys"), { ...NONE, seed: "7" });
  expect(replayOf(body)).toEqual({ model: "m", settings: { ...NONE, seed: "7", system: "Sys" }, turns: [turn("one?", "1")], question: "two?", pictures: [] });
  const anthropic = { model: "m", system: "S", max_tokens: 9, messages: [{ role: "user", content: [{ type: "text", text: "hi" }] }] };
  expect(replayOf(anthropic)).toMatchObject({ question: "hi", settings: { system: "S", maxTokens: "9" } });
  expect(replayOf("no chat")).toBeUndefined();
  expect(replayOf({ model: "m", prompt: "Once" })).toMatchObject({ question: "Once", turns: [] });
});

test("programs: quotes are kept, Python has its own words, images are cut for the eye", () => {
  const body = requestBody("m", [{ role: "user", content: `it's "so"` }], { ...NONE, topK: "4" });
  expect(program("curl", "http://h", body, true)).toContain(`it'\\''s \\"so\\"`);
  expect(program("curl", "http://h", body, true)).toContain('-H "Authorization: Bearer $LANHAVEN_API_KEY"');
  const python = program("python", "http://h", body, false);
  expect(python).toContain('extra_body={"top_k": 4}');
  expect(python).toContain("stream=True");
  expect(python).toContain('api_key="not-needed"');
  expect(program("javascript", "http://h", body, true)).toContain("process.env.LANHAVEN_API_KEY");
  expect(readable(`"data:image/png;base64,${"A".repeat(500)}"`).length).toBeLessThan(60);
  expect(shell("http://h/x?a='", "{}", false)).toBe("curl 'http://h/x?a='\\''' \\\n  -H 'Content-Type: application/json' \\\n  -d '{}'\n");
});
