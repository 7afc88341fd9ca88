/** What can be pressed where a load failed: what the server's error proposes, as another order to load. Pure. */
import { ApiError, told } from "../../lib/api";
import { count } from "../../lib/format";
import type { components } from "../../lib/schema";

export type LoadBody = components["schemas"]["LoadBody"];

export interface Failure {
  modelKey: string;
  message: string;
  hint?: string | undefined;
  code?: string | undefined;
  body?: LoadBody;
  facts?: Record<string, unknown>;
}

export interface Remedy {
  text: string;
  order: LoadBody;
  /** The instance that must go first. */
  unload?: string;
}

/** A failure of an order of ours. */
export function failed(body: LoadBody, error: unknown): Failure {
  const facts = error instanceof ApiError && typeof error.body === "object" && error.body !== null ? (error.body as Record<string, unknown>) : {};
  return { modelKey: body.modelKey, ...told(error), code: error instanceof ApiError ? error.code : undefined, body, facts };
}

export function remedies(failure: Failure): Remedy[] {
  const order = failure.body ?? { modelKey: failure.modelKey };
  const { largestContext, kept, instanceId } = failure.facts ?? {};
  if (failure.code === "instance_conflict" && typeof instanceId === "string") return [{ text: `Unload ${instanceId}, then load`, order, unload: instanceId }];
  if (failure.code !== "insufficient_memory") return [{ text: "Try again", order }];
  const found: Remedy[] = [];
  if (typeof largestContext === "number" && largestContext > 0) {
    found.push({ text: `Load with ${count(largestContext)} tokens`, order: { ...order, loadConfig: { ...order.loadConfig, contextLength: largestContext } } });
  }
  if (Array.isArray(kept) && typeof kept[0] === "string") found.push({ text: `Unload ${kept[0]}, then load`, order, unload: kept[0] });
  return [...found, { text: "Load anyway", order: { ...order, force: true } }];
}

/** Messages of a refused body by field: "loadConfig.contextLength" -> "Input should be ..." (pydantic's words). */
export function byField(error: unknown): Record<string, string> {
  const details = error instanceof ApiError && typeof error.body === "object" ? (error.body as { details?: unknown } | null)?.details : undefined;
  if (!Array.isArray(details)) return {};
  return Object.fromEntries(details.map((each: { path?: unknown[]; message?: string }) => [(each.path ?? []).join("."), each.message ?? "is wrong"]));
}
