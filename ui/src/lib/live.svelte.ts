/**
 * The debug stream, once for the whole page: batches of events, at most four a second, so that hundreds of requests
 * cost the page little. It is let go when the page has been hidden for a minute (a browser opens six connections to a
 * server, and tabs share them); `again` then tells listeners to ask for what they missed.
 */

import { session } from "./session.svelte";

export interface LiveEvent {
  name: string;
  timestamp: string;
  [member: string]: unknown;
}

type Listener = (events: readonly LiveEvent[]) => void;

const NAMES = [
  "connected", "model_load_start", "model_load_progress", "model_load_complete", "model_unload_start",
  "model_unload_complete", "model_activate", "catalog_changed", "inference_start", "inference_queued",
  "inference_complete", "error", "dropped", "shutdown",
]; // prettier-ignore
const EVERY_MS = 250;
const HIDDEN_MS = 60_000;
const MOST = 5_000; // events of one batch: a page that was asleep need not catch up with everything

class Live {
  state = $state<"off" | "connecting" | "open" | "lost">("off");
  private listeners = new Set<Listener>();
  private again = new Set<() => void>();
  private source: EventSource | undefined;
  private batch: LiveEvent[] = [];
  private timer: ReturnType<typeof setTimeout> | undefined;
  private hidden: ReturnType<typeof setTimeout> | undefined;
  private opened = 0;

  constructor() {
    document.addEventListener("visibilitychange", () => {
      clearTimeout(this.hidden);
      if (document.hidden) this.hidden = setTimeout(() => this.close(), HIDDEN_MS);
      else if (this.listeners.size) this.open();
    });
  }

  /** Hear batches of events until the returned function is called. `missed`: called after a gap in the stream. */
  listen(listener: Listener, missed?: () => void): () => void {
    this.listeners.add(listener);
    if (missed) this.again.add(missed);
    this.open();
    return () => {
      this.listeners.delete(listener);
      if (missed) this.again.delete(missed);
      if (!this.listeners.size) this.close();
    };
  }

  private open(): void {
    if (this.source) return;
    this.state = "connecting";
    const source = (this.source = new EventSource("/debug/stream"));
    source.onopen = () => {
      this.state = "open";
      if (this.opened++) for (const each of this.again) each();
    };
    source.onerror = (event) => {
      if (event instanceof MessageEvent) return; // an event of ours that is called "error"
      this.state = "lost";
      if (source.readyState !== EventSource.CLOSED) return;
      this.retry(source); // a refusal: the browser gives up, we do not
      void session.check();
    };
    for (const name of NAMES) source.addEventListener(name, (event) => this.take(name, (event as MessageEvent<unknown>).data));
  }

  private retry(source: EventSource): void {
    setTimeout(() => {
      if (this.source !== source) return;
      this.source = undefined;
      if (this.listeners.size && !document.hidden) this.open();
    }, 3_000);
  }

  private take(name: string, data: unknown): void {
    if (typeof data !== "string") return; // the source's own "error" event bears the name of one of ours
    this.batch.push({ ...(JSON.parse(data) as LiveEvent), name });
    if (this.batch.length > MOST) this.batch.splice(0, this.batch.length - MOST);
    this.timer ??= setTimeout(() => this.flush(), EVERY_MS);
  }

  private flush(): void {
    this.timer = undefined;
    const batch = this.batch;
    this.batch = [];
    for (const listener of this.listeners) listener(batch);
  }

  private close(): void {
    this.source?.close();
    this.source = undefined;
    this.state = "off";
  }
}

export const live = new Live();
