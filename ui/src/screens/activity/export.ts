/** The rows that are shown, as files. */
import { csv, type Cell } from "../../lib/download";
import { type Entry, isRow, type Row } from "./rows";

const COLUMNS: readonly (keyof Row)[] = ["timestamp", "requestId", "status", "model", "instance", "key", "path", "dialect", "timeMs", "queueMs", "firstTokenMs", "promptTokens", "completionTokens", "tokensPerSecond", "finishReason", "code", "error", "address", "userAgent"]; // prettier-ignore

/** One JSON object a line, requests and what became of models, oldest first. */
export function ndjson(entries: readonly Entry[]): string {
  return entries.toReversed().map((entry) => `${JSON.stringify(entry)}\n`).join("");
}

/** Requests only: a table has one kind of rows. */
export function table(entries: readonly Entry[]): string {
  const rows = entries.toReversed().filter(isRow);
  return csv(COLUMNS, rows.map((row) => COLUMNS.map((name) => row[name] as Cell)));
}
