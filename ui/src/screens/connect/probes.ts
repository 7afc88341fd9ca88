/** "Test now": an app's own requests, one after the other, with the key that the app will use. */
import { request, told } from "../../lib/api";
import type { ConnectProbe } from "../../lib/types";

export interface Outcome {
  ok: boolean;
  ms: number;
  /** The server's words where it failed. */
  message?: string;
  hint?: string | undefined;
}

const SHOWN = 300;

export async function ask(probe: ConnectProbe, key: string | undefined, signal: AbortSignal): Promise<Outcome> {
  const start = performance.now();
  const passed = () => performance.now() - start;
  try {
    const reply = await request(probe.method, probe.path, probe.body, key ? { key, signal } : { signal });
    const text = await reply.text();
    if (!probe.expect || text.includes(probe.expect)) return { ok: true, ms: passed() };
    return { ok: false, ms: passed(), message: `The answer does not hold ${probe.expect}.`, hint: text.slice(0, SHOWN) };
  } catch (error) {
    return { ok: false, ms: passed(), ...told(error) };
  }
}

/** Ask all in order and tell each outcome; the first failure ends it, as it would end the app. */
export async function askAll(
  probes: readonly ConnectProbe[],
  key: string | undefined,
  signal: AbortSignal,
  heard: (at: number, outcome: Outcome) => void,
): Promise<boolean> {
  for (const [at, probe] of probes.entries()) {
    const outcome = await ask(probe, key, signal);
    if (signal.aborted) return false;
    heard(at, outcome);
    if (!outcome.ok) return false;
  }
  return true;
}
