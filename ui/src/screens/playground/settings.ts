import type { InferenceDefaults } from "../../lib/types";

/** What the panel beside the chat says, as it was typed; empty = the model's own defaults. */

export interface Settings {
  system: string;
  temperature: string;
  topP: string;
  topK: string;
  minP: string;
  repeatPenalty: string;
  maxTokens: string;
  seed: string;
  stop: string; // one a line
  schema: string;
  tools: string;
}

export type Name = keyof Settings;

export const NONE: Readonly<Settings> = {
  system: "", temperature: "", topP: "", topK: "", minP: "", repeatPenalty: "", maxTokens: "", seed: "", stop: "", schema: "", tools: "",
}; // prettier-ignore

export interface Numeric {
  name: Extract<Name, keyof InferenceDefaults>;
  field: string;
  label: string;
  min: number;
  max: number;
  step: number;
  about: string;
}

export const NUMBERS: readonly Numeric[] = [
  { name: "temperature", field: "temperature", label: "Temperature", min: 0, max: 2, step: 0.1, about: "0 = always the likeliest word" },
  { name: "topP", field: "top_p", label: "Top P", min: 0, max: 1, step: 0.05, about: "the likeliest words up to this share" },
  { name: "topK", field: "top_k", label: "Top K", min: 0, max: 1000, step: 1, about: "the K likeliest words" },
  { name: "minP", field: "min_p", label: "Min P", min: 0, max: 1, step: 0.01, about: "at least this share of the likeliest" },
  { name: "repeatPenalty", field: "repeat_penalty", label: "Repeat penalty", min: 0, max: 2, step: 0.05, about: "1 = none" },
  { name: "maxTokens", field: "max_tokens", label: "Most tokens", min: 1, max: 1_000_000, step: 1, about: "the answer ends there" },
  { name: "seed", field: "seed", label: "Seed", min: 0, max: 4_294_967_295, step: 1, about: "the same seed, the same answer" },
];

export const TOOLS_EXAMPLE = JSON.stringify(
  [
    {
      name: "get_weather",
      description: "The weather in a city, now.",
      parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
    },
  ],
  null,
  2,
);

export const SCHEMA_EXAMPLE = JSON.stringify(
  { type: "object", properties: { name: { type: "string" }, age: { type: "integer" } }, required: ["name", "age"] },
  null,
  2,
);

/** What cannot be sent as it is: a sentence for each field that is wrong. */
export function wrong(settings: Settings): Partial<Record<Name, string>> {
  const found: Partial<Record<Name, string>> = {};
  for (const { name, min, max, step } of NUMBERS) {
    const text = settings[name].trim();
    const value = Number(text);
    if (text && !(value >= min && value <= max)) found[name] = `A number from ${min} to ${max}.`;
    else if (text && step === 1 && !Number.isInteger(value)) found[name] = "A whole number.";
  }
  for (const name of ["schema", "tools"] as const) {
    const problem = settings[name].trim() && jsonProblem(name, settings[name]);
    if (problem) found[name] = problem;
  }
  return found;
}

function jsonProblem(name: "schema" | "tools", text: string): string | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return `This is not JSON: ${error instanceof Error ? error.message : error}`;
  }
  if (name === "schema") return isObject(value) ? undefined : "A JSON schema is an object.";
  const nameless = !Array.isArray(value) || value.some((each) => typeof functionOf(each)?.name !== "string");
  return nameless ? "A list of tools, each with a name." : undefined;
}

/** The members of a request that these settings make; those that are wrong are left out. */
export function fields(settings: Settings): Record<string, unknown> {
  const bad = wrong(settings);
  const made: Record<string, unknown> = {};
  for (const { name, field } of NUMBERS) {
    if (settings[name].trim() && !bad[name]) made[field] = Number(settings[name]);
  }
  const stop = settings.stop.split("\n").filter(Boolean);
  if (stop.length) made.stop = stop;
  if (settings.schema.trim() && !bad.schema) {
    made.response_format = { type: "json_schema", json_schema: { name: "answer", schema: JSON.parse(settings.schema) as unknown, strict: true } };
  }
  if (settings.tools.trim() && !bad.tools) {
    const tools = (JSON.parse(settings.tools) as unknown[]).map((each) => ({ type: "function", function: functionOf(each) }));
    if (tools.length) made.tools = tools;
  }
  return made;
}

/** The settings that made these members of a request. */
export function settingsOf(body: Record<string, unknown>): Settings {
  const made = { ...NONE };
  for (const { name, field } of NUMBERS) if (typeof body[field] === "number") made[name] = String(body[field]);
  if (!made.maxTokens && typeof body.max_completion_tokens === "number") made.maxTokens = String(body.max_completion_tokens);
  const stop = typeof body.stop === "string" ? [body.stop] : Array.isArray(body.stop) ? body.stop : [];
  made.stop = stop.filter((each) => typeof each === "string").join("\n");
  const format = body.response_format;
  const schema = isObject(format) && isObject(format.json_schema) ? format.json_schema.schema : undefined;
  if (schema) made.schema = JSON.stringify(schema, null, 2);
  if (Array.isArray(body.tools) && body.tools.length) made.tools = JSON.stringify(body.tools.map(functionOf).filter(Boolean), null, 2);
  return made;
}

function functionOf(tool: unknown): Record<string, unknown> | undefined {
  if (!isObject(tool)) return undefined;
  return isObject(tool.function) ? tool.function : tool;
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
