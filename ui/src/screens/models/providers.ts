/** How the providers do, of what /health says of them. Pure. */

interface Backend {
  ok: boolean;
  kind: string;
  detail: string;
  latency_ms: number | null;
  /** Hosts that do not answer. */
  down?: string[];
}

export type Backends = Record<string, Backend>;

export interface Provider {
  name: string;
  tone: "good" | "warn" | "bad";
  state: string;
  latencyMs: number | null;
  lines: string[];
}

/** Those that have models here, and servers that were named and have none because they are down; what is ill comes first. */
export function providers(backends: Backends, used: ReadonlySet<string>): Provider[] {
  const told = Object.entries(backends).filter(([name, each]) => used.has(name) || (each.kind === "server" && !each.ok && each.detail !== "not configured"));
  const all = told.map(([name, each]): Provider => {
    const [tone, state] = !each.ok ? (["bad", "down"] as const) : each.down?.length ? (["warn", `${each.down.join(", ")} down`] as const) : (["good", "well"] as const);
    return { name, tone, state, latencyMs: each.ok ? each.latency_ms : null, lines: each.detail.split("; ").filter(Boolean) };
  });
  return all.sort((a, b) => RANK[a.tone] - RANK[b.tone]);
}

const RANK = { bad: 0, warn: 1, good: 2 };
