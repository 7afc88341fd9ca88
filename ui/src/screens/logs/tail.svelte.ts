import { api, at, ApiError } from "../../lib/api";
import type { LogLine } from "../../lib/types";
import { appended, type Line } from "./lines";

const EVERY_MS = 250;
const BACKLOG = 1_000;

/** One log, followed: its last lines and each new one. After a break in the connection the log is read anew. */
export class Tail {
  lines = $state.raw<readonly Line[]>([]);
  state = $state<"connecting" | "open" | "lost">("connecting");
  problem = $state.raw<unknown>();
  private fresh: Line[] = [];
  private next = 1;
  private anew = true;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private stream: EventSource;

  constructor(readonly source: string) {
    this.stream = new EventSource(at("/debug/logs/stream", { source, lines: BACKLOG }));
    this.stream.onopen = () => {
      this.state = "open";
      this.anew = true;
      this.later();
    };
    this.stream.onerror = () => {
      this.state = "lost";
      if (this.stream.readyState === EventSource.CLOSED) void this.ask();
    };
    this.stream.addEventListener("line", (event) => {
      this.fresh.push({ ...(JSON.parse((event as MessageEvent<string>).data) as LogLine), at: this.next++ });
      this.later();
    });
  }

  clear(): void {
    this.lines = this.fresh = [];
  }

  close(): void {
    this.stream.close();
    clearTimeout(this.timer);
  }

  private later(): void {
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      this.lines = appended(this.anew ? [] : this.lines, this.fresh);
      this.anew = false;
      this.fresh = [];
    }, EVERY_MS);
  }

  /** A stream that was refused does not say why; a plain request does. */
  private async ask(): Promise<void> {
    try {
      await api.get(at("/debug/logs", { source: this.source, lines: 0 }));
      this.problem = new ApiError(0, "The log's stream was closed.");
    } catch (error) {
      this.problem = error;
    }
  }
}
