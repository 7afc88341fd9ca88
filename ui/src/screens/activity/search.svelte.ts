/** Requests of the history that fit the filter: the list itself holds the newest only. */
import { api, at } from "../../lib/api";
import { type Filter, narrow } from "./filter";
import { type Entry, idOf, type Row } from "./rows";

const PAUSE_MS = 250;
const PAGE = 500;

export class Search {
  /** Newest first. */
  found = $state.raw<readonly Row[]>([]);
  /** There are older ones. */
  more = $state<string | undefined>();
  asking = $state(false);
  problem = $state.raw<unknown>();
  private timer: ReturnType<typeof setTimeout> | undefined;
  private turn: AbortController | undefined;

  /** Ask in a moment, unless another question comes before. */
  ask(filter: Filter): void {
    this.clear();
    this.asking = narrow(filter);
    if (this.asking) this.timer = setTimeout(() => void this.take(filter), PAUSE_MS);
  }

  clear(): void {
    this.stop();
    [this.found, this.more, this.problem, this.asking] = [[], undefined, undefined, false];
  }

  async older(filter: Filter): Promise<void> {
    await this.take(filter, this.more);
  }

  stop(): void {
    clearTimeout(this.timer);
    this.turn?.abort();
  }

  private async take({ text, model, key, status }: Filter, before?: string): Promise<void> {
    this.turn?.abort();
    const { signal } = (this.turn = new AbortController());
    try {
      const path = at("/debug/history/requests", { limit: PAGE, before, model, key, status, q: text.trim() });
      const { requests, next } = await api.get<{ requests: Row[]; next?: string }>(path, { signal });
      this.found = before === undefined ? requests : [...this.found, ...requests];
      this.more = next;
    } catch (error) {
      if (!signal.aborted) this.problem = error;
    }
    if (!signal.aborted) this.asking = false;
  }
}

/** What is shown of the list, and below it what the history has besides. `known`: the list has it, whether it fits or not. */
export function joined(shown: readonly Entry[], found: readonly Row[], known: (id: string) => boolean): readonly Entry[] {
  const others = found.filter((row) => !known(idOf(row)));
  return others.length ? [...shown, ...others].sort((a, b) => (a.timestamp < b.timestamp ? 1 : a.timestamp > b.timestamp ? -1 : 0)) : shown;
}
