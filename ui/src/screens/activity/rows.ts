/** What happened, as rows: requests, and what became of models. Made of the history's rows and of live events alike. */
import type { LiveEvent } from "../../lib/live.svelte";
import { speed } from "../../lib/speed";
import type { HistoryRequest, RequestDetails } from "../../lib/types";

export type Status = HistoryRequest["status"];

/** A request as the history tells it; of one that events tell of, what is known so far. */
export type Row = Pick<HistoryRequest, "requestId" | "timestamp" | "status"> & Partial<RequestDetails>;

/** Something about a model: it was loaded, it could not be loaded, ... */
export interface Happening {
  id: string;
  timestamp: string;
  name: string;
  model?: string;
  text: string;
  bad: boolean;
}

export type Entry = Row | Happening;

export function isRow(entry: Entry): entry is Row {
  return "requestId" in entry;
}

export function idOf(entry: Entry): string {
  return isRow(entry) ? entry.requestId : entry.id;
}

const MOST_WORDS = 2_000;
const words = new Map<string, string>();

/** The same text once in memory, however many rows bear it: names of models, paths, programs. */
function one(text: unknown): string | undefined {
  if (typeof text !== "string" || !text) return undefined;
  const known = words.get(text);
  if (known !== undefined) return known;
  if (words.size >= MOST_WORDS) words.clear();
  words.set(text, text);
  return text;
}

const number = (value: unknown) => (typeof value === "number" ? value : undefined);

/** What an event makes of the row that there is. undefined: it is about no request. */
export function told(event: LiveEvent, known: Row | undefined): Row | undefined {
  const requestId = typeof event.requestId === "string" ? event.requestId : undefined;
  if (!requestId) return undefined;
  if (event.name === "inference_start") return started(event, requestId, known);
  if (event.name === "inference_queued") return known && { ...known, model: one(event.modelKey) ?? known.model };
  if (event.name === "inference_complete") return { ...ended(event, requestId, known), status: "completed" };
  if (event.name !== "error") return undefined;
  return {
    ...ended(event, requestId, known),
    status: event.cancelled ? "cancelled" : "failed",
    error: one(event.error),
    code: one(event.code),
  };
}

function started(event: LiveEvent, requestId: string, known: Row | undefined): Row {
  if (known && known.status !== "pending") return known; // its end was told before, by the history
  return {
    requestId,
    timestamp: event.timestamp,
    status: "pending",
    path: one(event.path),
    dialect: one(event.dialect),
    model: one(event.model),
    key: one(event.client),
    userAgent: one(event.userAgent),
    address: one(event.address),
  };
}

function ended(event: LiveEvent, requestId: string, known: Row | undefined): Row {
  const timeMs = number(event.totalTimeMs) ?? 0;
  const usage = (event.tokenUsage ?? {}) as { promptTokens?: number; completionTokens?: number };
  return {
    requestId,
    timestamp: known?.timestamp ?? new Date(Date.parse(event.timestamp) - timeMs).toISOString(),
    status: "pending",
    path: known?.path,
    dialect: one(event.dialect) ?? known?.dialect,
    model: one(event.modelKey) ?? known?.model,
    instance: one(event.instanceId),
    key: one(event.client) ?? known?.key,
    userAgent: known?.userAgent,
    address: known?.address,
    streamed: typeof event.streamed === "boolean" ? event.streamed : undefined,
    timeMs,
    queueMs: number(event.queueMs),
    firstTokenMs: number(event.firstTokenMs),
    promptTokens: usage.promptTokens,
    completionTokens: usage.completionTokens,
    tokensPerSecond: speed(event),
    finishReason: one(event.finishReason),
  };
}

const REASONS: Record<string, string> = { request: "on request", idle: "it was idle", evicted: "to make room", shutdown: "the server stops", removed: "models.yaml has it no more", changed: "models.yaml says otherwise" }; // prettier-ignore

/** What an event tells of a model. undefined: nothing that a row is worth. */
export function happening(event: LiveEvent, number: number): Happening | undefined {
  const model = one(event.modelKey);
  const made = (text: string, bad = false) => ({ id: `event-${number}`, timestamp: event.timestamp, name: event.name, model, text, bad });
  const seconds = typeof event.totalTimeMs === "number" ? ` in ${(event.totalTimeMs / 1000).toFixed(1)} s` : "";
  switch (event.name) {
    case "model_load_start": return made(`${model} is being loaded${event.automatic ? ", a request asks for it" : ""}`);
    case "model_load_complete": return made(`${model} is loaded${seconds}`);
    case "model_unload_complete": return made(`${model} was unloaded: ${REASONS[String(event.reason)] ?? String(event.reason)}`, event.reason === "crashed" || event.reason === "failing");
    case "model_activate": return made(`${model} answers requests that name no model`);
    case "catalog_changed": return made("models.yaml was read again");
    case "dropped": return made(`${String(event.count)} events came too fast for this page`, true);
    case "error": return event.requestId ? undefined : made(String(event.error), true);
    default: return undefined;
  }
} // prettier-ignore
