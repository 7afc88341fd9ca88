import { api } from "../../lib/api";
import type { LoadEstimate } from "../../lib/types";
import { byField, type LoadBody } from "./remedy";

const PAUSE_MS = 200;

/** What a load would take, asked for while the form is filled in: the last question counts. */
export class Estimate {
  told = $state.raw<LoadEstimate | undefined>();
  errors = $state.raw<Record<string, string>>({});
  problem = $state.raw<unknown>();
  asking = $state(false);
  private timer: ReturnType<typeof setTimeout> | undefined;
  private turn: AbortController | undefined;

  /** Ask in a moment, unless another question comes before. */
  ask(body: LoadBody): void {
    clearTimeout(this.timer);
    this.asking = true;
    this.timer = setTimeout(() => void this.now(body), this.told ? PAUSE_MS : 0);
  }

  stop(): void {
    clearTimeout(this.timer);
    this.turn?.abort();
    this.asking = false;
  }

  private async now(body: LoadBody): Promise<void> {
    this.turn?.abort();
    const turn = (this.turn = new AbortController());
    try {
      this.told = await api.post<LoadEstimate>("/admin/models/estimate", body, { signal: turn.signal });
      this.errors = {};
      this.problem = undefined;
    } catch (error) {
      if (turn.signal.aborted) return;
      this.errors = Object.fromEntries(Object.entries(byField(error)).map(([path, message]) => [path.split(".").at(-1) ?? path, message]));
      this.problem = error;
    }
    if (turn === this.turn) this.asking = false;
  }
}
