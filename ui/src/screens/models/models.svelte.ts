/** Models, instances and memory as they are now: asked for, kept fresh by the debug stream, and ordered about. */
import { api } from "../../lib/api";
import { live, type LiveEvent } from "../../lib/live.svelte";
import type { components } from "../../lib/schema";
import { session } from "../../lib/session.svelte";
import { some, ms } from "../../lib/format";
import { speed } from "../../lib/speed";
import { toasts } from "../../lib/toasts.svelte";
import type { AdminModels, AvailableModel, EntryChanged, LoadedInstance, Memory, ModelLoaded } from "../../lib/types";
import { failed, type Failure, type LoadBody, type Remedy } from "./remedy";

const IDLE_MS = 10_000; // between two looks when nothing is heard
const BLIND_MS = 2_000; // the same for keys that may not hear events
const SOON_MS = 120; // after an event of a model
const BUSY_MS = 1_500; // after one of a request: only counts change
const TICK_MS = 1_000;
const LATE_MS = 1_500; // after the reply to an order its event may come: events come in batches

type Keep = Omit<components["schemas"]["KeepBody"], "modelKey" | "instanceId">;

class Models {
  downloaded = $state.raw<AvailableModel[]>([]);
  loaded = $state.raw<LoadedInstance[]>([]);
  memory = $state.raw<Memory | undefined>();
  problem = $state.raw<unknown>();
  known = $state(false);
  /** By model key: the last load that failed, until it is tried again or closed. */
  failures = $state.raw<Record<string, Failure>>({});
  /** By instance: tokens a second of the last request. */
  speeds = $state.raw<Record<string, number>>({});
  /** Model keys with an order of ours under way. */
  ordered = $state.raw<ReadonlySet<string>>(new Set());
  /** Milliseconds since the lists were asked for. */
  since = $state(0);

  private orders = new Map<string, AbortController>();
  private ended = new Map<string, number>();
  private watchers = 0;
  private asked = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private due = Infinity;
  private asking: Promise<void> | undefined;

  /** Keep it fresh until the returned function is called. */
  watch(): () => void {
    const hearing = session.may("debug");
    const stop = hearing ? live.listen((events) => this.hear(events), () => this.soon(0)) : () => {};
    const tick = setInterval(() => (this.since = performance.now() - this.asked), TICK_MS);
    const look = setInterval(() => document.hidden || this.soon(0), hearing ? IDLE_MS : BLIND_MS);
    if (!this.watchers++) void this.seed();
    this.soon(0);
    return () => {
      this.watchers--;
      stop();
      clearInterval(tick);
      clearInterval(look);
    };
  }

  /** Ask again, at the latest in so many milliseconds. */
  soon(delay: number): void {
    const at = performance.now() + delay;
    if (at >= this.due) return;
    clearTimeout(this.timer);
    this.due = at;
    this.timer = setTimeout(() => ((this.due = Infinity), void this.look()), delay);
  }

  async look(): Promise<void> {
    this.asking ??= this.ask().finally(() => (this.asking = undefined));
    await this.asking;
  }

  private async ask(): Promise<void> {
    try {
      const [models, memory] = await Promise.all([api.get<AdminModels>("/admin/models"), api.get<Memory>("/admin/memory")]);
      this.asked = performance.now();
      this.since = 0;
      this.downloaded = models.downloaded;
      this.loaded = models.loaded;
      this.memory = memory;
      this.problem = undefined;
      this.known = true;
    } catch (error) {
      this.problem = error;
    }
  }

  /** How fast each instance was lately, from before this page was opened. */
  private async seed(): Promise<void> {
    if (!session.may("debug")) return;
    try {
      const { requests } = await api.get<{ requests: { instance?: string; tokensPerSecond?: number }[] }>("/debug/history/requests?limit=100&status=completed");
      const found: Record<string, number> = {};
      for (const { instance, tokensPerSecond } of requests.toReversed()) if (instance && tokensPerSecond) found[instance] = tokensPerSecond;
      this.speeds = { ...found, ...this.speeds };
    } catch {
      /* no history is kept: the next requests will tell */
    }
  }

  private hear(events: readonly LiveEvent[]): void {
    const speeds: Record<string, number> = {};
    for (const event of events) {
      if (event.name === "model_load_complete") this.forget(String(event.modelKey)); // a failure before it is over, heard of late or not
      if (event.name === "model_load_progress") this.progress(event);
      else if (event.name.startsWith("model_") || event.name === "catalog_changed" || event.name === "dropped") this.soon(SOON_MS);
      else if (event.name === "error" && event.operation !== "inference") this.fail(event);
      else if (event.name.startsWith("inference_") || event.name === "error") this.soon(BUSY_MS);
      const measured = event.name === "inference_complete" ? speed(event) : undefined;
      if (measured !== undefined) speeds[String(event.instanceId)] = measured;
    }
    if (Object.keys(speeds).length) this.speeds = { ...this.speeds, ...speeds };
  }

  private progress(event: LiveEvent): void {
    const { instanceId, stage, progressRaw } = event as unknown as { instanceId: string; stage: string; progressRaw: number | null };
    this.loaded = this.loaded.map((each) => (each.identifier === instanceId && each.state === "loading" ? { ...each, stage, progress: progressRaw } : each));
  }

  private fail(event: LiveEvent): void {
    this.soon(SOON_MS);
    const key = event.modelKey;
    if (typeof key !== "string" || this.ordered.has(key) || !["model_load", "engine"].includes(String(event.operation))) return;
    const ended = this.ended.get(key);
    if (ended !== undefined && performance.now() - ended < LATE_MS) return; // of an order of ours, whose reply said more
    this.failures = { ...this.failures, [key]: { modelKey: key, message: String(event.error), hint: (event.hint as string | null) ?? undefined, code: String(event.code) } };
  }

  forget(key: string): void {
    if (!this.failures[key]) return;
    const { [key]: _gone, ...rest } = this.failures;
    this.failures = rest;
  }

  // Orders. Each tells by a toast, or by the failure at its model, how it ended.

  /** Load; true if it is loaded. The order lives as long as the page: leaving the screen stops nothing. */
  async load(body: LoadBody): Promise<boolean> {
    const key = body.modelKey;
    const order = new AbortController();
    this.orders.set(key, order);
    this.ordered = new Set(this.orders.keys());
    this.forget(key);
    this.soon(SOON_MS);
    try {
      const reply = await api.post<ModelLoaded>("/admin/models/load", body, { signal: order.signal });
      const without = reply.ignored.map((each) => `${each.key} had no effect: ${each.reason}`).join("; ");
      const took = reply.reused ? "was loaded already" : `is loaded, in ${ms(reply.totalTimeMs)}`;
      toasts.good(`${reply.instanceId} ${took}${without ? `. ${without}` : ""}`);
      return true;
    } catch (error) {
      if (!order.signal.aborted) this.failures = { ...this.failures, [key]: failed(body, error) };
      return false;
    } finally {
      this.ended.set(key, performance.now());
      if (this.orders.get(key) === order) this.orders.delete(key);
      this.ordered = new Set(this.orders.keys());
      this.soon(0);
    }
  }

  async mend(remedy: Remedy): Promise<boolean> {
    const there = this.loaded.find((each) => each.identifier === remedy.unload);
    if (there && !(await this.unload(there))) return false;
    return await this.load(remedy.order);
  }

  /** Unload an instance, or stop its load. */
  async unload(instance: LoadedInstance): Promise<boolean> {
    const loading = instance.state === "loading";
    if (loading) this.orders.get(instance.path)?.abort();
    const { path: modelKey, identifier: instanceId } = instance;
    return await this.done(() => api.post("/admin/models/unload", { modelKey, instanceId }), loading ? `${instanceId} is not being loaded any more` : `${instanceId} is unloaded`, { gone: loading });
  }

  async activate({ path: modelKey, identifier: instanceId }: LoadedInstance): Promise<boolean> {
    return await this.done(() => api.post("/admin/models/activate", { modelKey, instanceId }), `${instanceId} answers requests that name no model`);
  }

  /** Keep a loaded instance otherwise: its pin, idle time, defaults. */
  async keep({ path: modelKey, identifier: instanceId }: LoadedInstance, how: Keep, said: string): Promise<boolean> {
    return await this.done(() => api.post("/admin/models/keep", { modelKey, instanceId, ...how }), said);
  }

  /** Change the entry of models.yaml; throws, for the form that asked. */
  async edit(modelKey: string, changes: object, byDefault?: boolean): Promise<void> {
    const told = await api.post<EntryChanged>("/admin/models/edit", { modelKey, changes, ...(byDefault === undefined ? {} : { default: byDefault }) });
    toasts.good(`${modelKey} is kept so in ${told.file}`);
    this.soon(0);
  }

  async remove(modelKey: string): Promise<boolean> {
    return await this.done(async () => {
      const told = await api.post<EntryChanged>("/admin/models/remove", { modelKey });
      return `${modelKey} is taken out of ${told.file}; its files stay`;
    });
  }

  async refresh(): Promise<boolean> {
    return await this.done(async () => {
      const { models, problems } = await api.post<{ models: number; problems: string[] }>("/admin/models/refresh");
      return [`${some(models, "model")} looked at anew`, ...problems].join(". ");
    });
  }

  private async done(order: () => Promise<unknown>, said?: string, { gone = false } = {}): Promise<boolean> {
    try {
      const told = await order();
      toasts.good(said ?? String(told));
      return true;
    } catch (error) {
      if (gone) toasts.good(said ?? "");
      else toasts.bad(error);
      return gone;
    } finally {
      this.soon(0);
    }
  }
}

export const models = new Models();
