import type { LiveEvent } from "./live.svelte";

/** Tokens a second of a request that ended (event `inference_complete`), as the history reckons it: the first token ends the
 *  wait, the others are what is timed; of an answer in one piece all, from the instance on. undefined: nothing can be said. */
export function speed(event: Pick<LiveEvent, string>): number | undefined {
  const usage = event.tokenUsage as { completionTokens?: number } | null | undefined;
  const tokens = usage?.completionTokens ?? 0;
  const total = Number(event.totalTimeMs ?? 0);
  const first = typeof event.firstTokenMs === "number" ? event.firstTokenMs : undefined;
  const [counted, took] = first === undefined ? [tokens, total - Number(event.queueMs ?? 0)] : [tokens - 1, total - first];
  return counted > 0 && took > 0 ? (counted / took) * 1000 : undefined;
}
