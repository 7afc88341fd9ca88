/** The fields of a load and of defaults, as a form holds them and as the server wants them. Pure. */
import type { components } from "../../lib/schema";
import type { AvailableModel, InferenceDefaults, LoadSettings } from "../../lib/types";
import type { LoadBody } from "./remedy";

/** A number field: null or undefined while it is empty. */
type Figure = number | null | undefined;

export interface LoadForm {
  contextLength: Figure;
  gpu: "" | "ratio" | "layers";
  gpuRatio: number; // percent
  gpuLayers: Figure;
  cpuThreads: Figure;
  slots: Figure;
  kvType: string;
  flashAttention: "" | "on" | "off";
  ropeFrequencyBase: Figure;
  ropeFrequencyScale: Figure;
  instanceId: string;
  ttl: Ttl;
  pinned: boolean;
  activate: boolean;
}

export interface SamplingForm {
  temperature: Figure;
  topP: Figure;
  topK: Figure;
  minP: Figure;
  repeatPenalty: Figure;
  maxTokens: Figure;
  seed: Figure;
  stop: string; // one a line
  stream: "" | "on" | "off";
  contextOverflow: string;
}

/** Seconds, "0" = never, "" = as for all models. */
export type Ttl = string;

export const TTLS: readonly { value: Ttl; text: string }[] = [
  { value: "", text: "as for all models" },
  { value: "300", text: "5 minutes" },
  { value: "1800", text: "30 minutes" },
  { value: "3600", text: "1 hour" },
  { value: "14400", text: "4 hours" },
  { value: "0", text: "never" },
];

/** The choices, and the one that holds now if it is none of them. */
export function ttls(now: Ttl): readonly { value: Ttl; text: string }[] {
  return TTLS.some((each) => each.value === now) ? TTLS : [...TTLS, { value: now, text: `${now} s` }];
}

export const KV_TYPES = ["f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl"];
export const OVERFLOWS = ["error", "drop-oldest", "drop-middle", "truncate"] as const;

export function loadForm(settings: LoadSettings, more: Partial<LoadForm> = {}): LoadForm {
  const { ratio, layers } = settings.gpu ?? {};
  return {
    contextLength: settings.contextLength,
    gpu: layers !== undefined ? "layers" : ratio !== undefined ? "ratio" : "",
    gpuRatio: Math.round((ratio ?? 1) * 100),
    gpuLayers: layers,
    cpuThreads: settings.cpuThreads,
    slots: settings.slots,
    kvType: settings.kvType ?? "",
    flashAttention: settings.flashAttention === undefined ? "" : settings.flashAttention ? "on" : "off",
    ropeFrequencyBase: settings.ropeFrequencyBase,
    ropeFrequencyScale: settings.ropeFrequencyScale,
    instanceId: "",
    ttl: settings.ttlSeconds === undefined ? "" : String(settings.ttlSeconds),
    pinned: false,
    activate: true,
    ...more,
  };
}

export function samplingForm(defaults: InferenceDefaults): SamplingForm {
  const { stopStrings, stream, contextOverflow, ...rest } = defaults;
  return {
    temperature: null, topP: null, topK: null, minP: null, repeatPenalty: null, maxTokens: null, seed: null, ...rest,
    stop: (stopStrings ?? []).join("\n"),
    stream: stream === undefined ? "" : stream ? "on" : "off",
    contextOverflow: contextOverflow ?? "",
  }; // prettier-ignore
}

export interface Bound {
  min: number;
  max: number;
  step?: number;
  whole?: boolean;
}

/** What the server takes (server/admin_types.py). */
export const BOUNDS: Record<string, Bound> = {
  contextLength: { min: 1, max: 2 ** 24, whole: true },
  gpuLayers: { min: 0, max: 100_000, whole: true },
  cpuThreads: { min: 1, max: 4096, whole: true },
  slots: { min: 1, max: 256, whole: true },
  ropeFrequencyBase: { min: Number.MIN_VALUE, max: Infinity },
  ropeFrequencyScale: { min: Number.MIN_VALUE, max: Infinity },
  temperature: { min: 0, max: 2, step: 0.05 },
  topP: { min: 0, max: 1, step: 0.01 },
  topK: { min: 0, max: 2 ** 20, whole: true },
  minP: { min: 0, max: 1, step: 0.01 },
  repeatPenalty: { min: 0, max: Infinity, step: 0.05 },
  maxTokens: { min: 1, max: 2 ** 30, whole: true },
  seed: { min: -(2 ** 53), max: 2 ** 53, whole: true },
};

/** What is wrong in the form, by field; nothing is asked of the server while there is. */
export function wrong(form: object): Record<string, string> {
  const found: Record<string, string> = {};
  for (const [name, value] of Object.entries(form)) {
    const bound = BOUNDS[name];
    if (!bound || typeof value !== "number") continue;
    if (bound.whole && !Number.isInteger(value)) found[name] = "A whole number.";
    else if (value < bound.min) found[name] = bound.min === Number.MIN_VALUE ? "Above 0." : `At least ${bound.min}.`;
    else if (value > bound.max) found[name] = `At most ${bound.max.toLocaleString("en")}.`;
  }
  return found;
}

type LoadConfig = components["schemas"]["LoadConfigBody"];
type Sampling = components["schemas"]["SamplingBody"];

/** Every field; null = not said. */
export function config(form: LoadForm): LoadConfig {
  const gpu = form.gpu === "ratio" ? { ratio: form.gpuRatio / 100 } : form.gpu === "layers" && figure(form.gpuLayers) !== null ? { layers: figure(form.gpuLayers) } : null;
  return {
    contextLength: figure(form.contextLength),
    gpu,
    cpuThreads: figure(form.cpuThreads),
    slots: figure(form.slots),
    kvType: form.kvType || null,
    flashAttention: choice(form.flashAttention),
    ropeFrequencyBase: figure(form.ropeFrequencyBase),
    ropeFrequencyScale: figure(form.ropeFrequencyScale),
  };
}

export function sampling(form: SamplingForm): Sampling {
  const stop = form.stop.split("\n").filter(Boolean);
  const { temperature, topP, topK, minP, repeatPenalty, maxTokens, seed } = form;
  return {
    temperature: figure(temperature), topP: figure(topP), topK: figure(topK), minP: figure(minP), repeatPenalty: figure(repeatPenalty),
    maxTokens: figure(maxTokens), seed: figure(seed),
    stopStrings: stop.length ? stop : null,
    stream: choice(form.stream),
    contextOverflow: (form.contextOverflow || null) as Sampling["contextOverflow"],
  }; // prettier-ignore
}

/** The order to load: only what is said. */
export function order(model: AvailableModel, form: LoadForm, defaults: SamplingForm): LoadBody {
  const said = only(sampling(defaults));
  return {
    modelKey: model.path,
    loadConfig: only(config(form)),
    activate: form.activate,
    ...(form.instanceId.trim() ? { instanceId: form.instanceId.trim() } : {}),
    ...(Object.keys(said).length ? { defaultInference: said } : {}),
    ...(form.ttl === "" ? {} : { ttlSeconds: Number(form.ttl) }),
    ...(form.pinned ? { pinned: true } : {}),
  };
}

/** The same as changes of the model's entry in models.yaml: what is not said there any more is taken out. */
export function changes(model: AvailableModel, form: LoadForm, defaults: SamplingForm): Record<string, unknown> {
  const load = apart(config(form), model.loadConfig);
  const inference = apart(sampling(defaults), model.defaultInference);
  const ttl = form.ttl === "" ? null : Number(form.ttl);
  return {
    ...(Object.keys(load).length ? { load } : {}),
    ...(Object.keys(inference).length ? { defaults: inference } : {}),
    ...(ttl === (model.loadConfig.ttlSeconds ?? null) ? {} : { ttl }),
    ...(form.pinned === model.pinned ? {} : { pinned: form.pinned || null }),
  };
}

/** The members that are otherwise than they were; null where there is none any more. */
function apart(now: object, before: object): Record<string, unknown> {
  const was = before as Record<string, unknown>;
  return Object.fromEntries(Object.entries(now).filter(([name, value]) => JSON.stringify(value ?? null) !== JSON.stringify(was[name] ?? null)));
}

function only<T extends object>(body: T): T {
  return Object.fromEntries(Object.entries(body).filter(([, value]) => value !== null && value !== undefined)) as T;
}

function figure(value: Figure): number | null {
  return value === undefined || value === null || Number.isNaN(value) ? null : value;
}

function choice(value: "" | "on" | "off"): boolean | null {
  return value === "" ? null : value === "on";
}
