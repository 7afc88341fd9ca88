/** One request as the inspector shows it. */
import type { RequestBody, RequestPhase } from "../../lib/types";
import { shell } from "../playground/code";
import type { Row } from "./rows";

export const PHASES: Record<RequestPhase["name"], string> = { queue: "Waiting", load: "Loading the model", prompt: "Reading the prompt", generate: "Writing" };
const NO_FIELDS = new Set(["messages", "tools", "images", "inputs", "documents", "stops"]); // counts, no fields

/** The request as a command; without its body, as much of it as is known. */
export function asCurl(origin: string, detail: Row, body: RequestBody | undefined, keyed: boolean): string {
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
