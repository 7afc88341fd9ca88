/** The table of models, of what the server says: which rows, what state, and until when an instance stays. Pure. */
import type { AvailableModel, LoadedInstance } from "../../lib/types";
import { ms } from "../../lib/format";

export interface Row {
  model: AvailableModel;
  instances: LoadedInstance[];
}

export type Kind = "all" | "loaded" | "llm" | "vlm" | "embedding" | "reranker" | "other";

export const KINDS: Record<Kind, string> = {
  all: "All", loaded: "Loaded", llm: "Text", vlm: "Vision", embedding: "Embedding", reranker: "Rerank", other: "Other",
}; // prettier-ignore

export function kindOf(model: { type: string }): Kind {
  return model.type in KINDS ? (model.type as Kind) : "other";
}

/** The choices that make a difference: all, what is loaded, and each kind that is there if there are several. */
export function choices(models: readonly AvailableModel[]): Kind[] {
  const there = (Object.keys(KINDS) as Kind[]).filter((kind) => models.some((model) => kindOf(model) === kind));
  return ["all", "loaded", ...(there.length > 1 ? there : [])];
}

/** Every model with its instances, in the server's order; instances of models that are listed no more come last. */
export function rows(models: readonly AvailableModel[], loaded: readonly LoadedInstance[]): Row[] {
  const of = new Map<string, LoadedInstance[]>();
  for (const each of loaded) of.set(each.path, [...(of.get(each.path) ?? []), each]);
  const known = models.map((model) => ({ model, instances: of.get(model.path) ?? [] }));
  const listed = new Set(models.map((model) => model.path));
  const strays = [...of].filter(([key]) => !listed.has(key)).map(([key, instances]) => ({ model: unlisted(key, instances[0]), instances }));
  return [...known, ...strays];
}

function unlisted(path: string, instance: LoadedInstance | undefined): AvailableModel {
  return {
    path, size: instance?.sizeBytes ?? 0, type: instance?.type ?? "llm", provider: instance?.provider ?? "", format: null, quantization: null,
    architecture: null, maxContextLength: null, layers: null, capabilities: [], aliases: [], available: false,
    unavailableReason: "It is not listed any more.", description: null, default: false, listed: false, pinned: false, preload: false,
    loadConfig: {}, defaultInference: {},
  }; // prettier-ignore
}

/** Those of a kind in which every word of the text is found: in key, alias, provider, format, capability or instance. */
export function filtered(all: readonly Row[], text: string, kind: Kind): Row[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  return all.filter(({ model, instances }) => {
    if (kind === "loaded" ? !instances.length : kind !== "all" && kindOf(model) !== kind) return false;
    const told = [model.path, ...model.aliases, model.provider, model.format, model.quantization, model.architecture, ...model.capabilities, ...instances.map((each) => each.identifier)];
    const low = told.filter(Boolean).join("\n").toLowerCase();
    return words.every((word) => low.includes(word));
  });
}

export interface Shown {
  text: string;
  tone: "" | "good" | "warn" | "bad" | "accent";
}

/** The state of an instance in a word or two. */
export function stateOf(instance: LoadedInstance): Shown {
  switch (instance.state) {
    case "loading":
      return { text: instance.stage?.startsWith("waiting") ? "waiting" : "loading", tone: "accent" };
    case "draining":
      return { text: instance.busy ? `ends after ${instance.busy}` : "unloading", tone: "warn" };
    case "failed":
      return { text: "failed", tone: "bad" };
    case "ready":
      if (instance.busy || instance.waiting) {
        const slots = instance.slots ? `/${instance.slots}` : "";
        return { text: `busy ${instance.busy}${slots}${instance.waiting ? ` +${instance.waiting}` : ""}`, tone: "accent" };
      }
      return { text: "ready", tone: "good" };
  }
}

/** Until when an instance stays: "pinned", "4 min 10 s", "no limit". `since`: milliseconds since the server said it. */
export function until(instance: LoadedInstance, since: number): string {
  if (instance.state !== "ready") return "";
  if (instance.pinned) return "pinned";
  if (instance.expiresInSeconds !== null) {
    const left = Math.max(0, instance.expiresInSeconds * 1000 - since);
    return ms(left >= 120_000 ? Math.ceil(left / 60_000) * 60_000 : Math.ceil(left / 1000) * 1000);
  }
  return instance.busy || instance.waiting ? "in use" : "no limit";
}
