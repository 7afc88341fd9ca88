/** One request as the inspector shows it. */
import { shell } from "../playground/code";
import type { Row } from "./rows";

export type PhaseName = "queue" | "load" | "prompt" | "generate";

export interface Phase {
  name: PhaseName;
  startMs: number;
  ms: number;
}

export interface Detail extends Row {
  phases?: Phase[];
  parameters?: Record<string, number | boolean | string>;
  body?: "kept" | "off" | "gone";
}

export interface Body {
  request: string;
  response: string;
  truncated: boolean;
}

export const PHASES: Record<PhaseName, string> = { queue: "Waiting", load: "Loading the model", prompt: "Reading the prompt", generate: "Writing" };
const NO_FIELDS = new Set(["messages", "tools", "images", "inputs", "documents", "stops"]); // counts, no fields

/** The request as a command; without its body, as much of it as is known. */
export function asCurl(origin: string, detail: Detail, body: Body | undefined, keyed: boolean): string {
  const known = Object.entries(detail.parameters ?? {}).filter(([name]) => !NO_FIELDS.has(name));
  const guess = { model: detail.model, messages: [{ role: "user", content: "Hello!" }], ...Object.fromEntries(known) };
  return shell(origin + (detail.path ?? "/v1/chat/completions"), body?.request ?? JSON.stringify(guess, null, 2), keyed, "-N ");
}

export function pretty(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text; // a stream, or cut
  }
}
