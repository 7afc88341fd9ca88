/** What is going on: from the history once, from then on live. */
import { api, at } from "../../lib/api";
import { live, type LiveEvent } from "../../lib/live.svelte";
import { Ring } from "./ring";
import { type Entry, happening, isRow, type Row, told } from "./rows";

const MOST = 10_000;
const PAGE = 500;

interface Page {
  requests: Row[];
  next?: string;
}

export class Activity {
  /** Newest first. */
  shown = $state.raw<readonly Entry[]>([]);
  paused = $state(false);
  /** Entries that came since the pause began. */
  waiting = $state(0);
  problem = $state.raw<unknown>();
  filled = $state(false);
  models = $state.raw<readonly string[]>([]);
  keys = $state.raw<readonly string[]>([]);
  /** The history has older ones, and there is room for them. */
  more = $state<string | undefined>();

  private readonly ring = new Ring(MOST);
  private readonly seen = { models: new Set<string>(), keys: new Set<string>() };
  private happened = 0;

  /** Follow, until the returned function is called. */
  follow(): () => void {
    const deaf = live.listen((events) => this.hear(events), () => void this.fill());
    void this.fill();
    return deaf;
  }

  async fill(): Promise<void> {
    await this.take();
  }

  async older(): Promise<void> {
    await this.take(this.more);
  }

  private async take(before?: string): Promise<void> {
    try {
      const { requests, next } = await api.get<Page>(at("/debug/history/requests", { limit: PAGE, before }));
      this.ring.merge(requests, before === undefined);
      for (const row of requests) this.note(row);
      this.more = this.ring.full ? undefined : next;
      this.problem = undefined;
    } catch (error) {
      this.problem = error;
    } finally {
      this.filled = true;
      this.show();
    }
  }

  get(id: string): Row | undefined {
    const entry = this.ring.get(id);
    return entry && isRow(entry) ? entry : undefined;
  }

  clear(): void {
    this.ring.clear();
    this.more = undefined;
    this.waiting = 0;
    this.paused = false;
    this.show();
  }

  pause(): void {
    this.paused = !this.paused;
    this.waiting = 0;
    this.show();
  }

  private hear(events: readonly LiveEvent[]): void {
    let fresh = 0;
    for (const event of events) {
      const known = typeof event.requestId === "string" ? this.get(event.requestId) : undefined;
      const entry = told(event, known) ?? happening(event, (this.happened += 1));
      if (!entry) continue;
      if (!known) fresh += 1;
      this.ring.put(entry);
      this.note(entry);
    }
    if (this.paused) this.waiting += fresh;
    else if (events.length) this.show();
  }

  private show(): void {
    if (!this.paused) this.shown = this.ring.newest();
    if (this.seen.models.size !== this.models.length) this.models = [...this.seen.models].sort();
    if (this.seen.keys.size !== this.keys.length) this.keys = [...this.seen.keys].sort();
  }

  private note(entry: Entry): void {
    if (entry.model && this.seen.models.size < 500) this.seen.models.add(entry.model);
    if (isRow(entry) && entry.key && this.seen.keys.size < 500) this.seen.keys.add(entry.key);
  }
}
