import { api, at, ApiError } from "../../lib/api";
import type { LogLine } from "../../lib/types";
import { appended, unseen, type Line } from "./lines";

const EVERY_MS = 250;
const BACKLOG = 1_000;

/** One log, followed: its last lines and each new one. After a break in the connection what was written meanwhile comes, and
 *  the lines of a server that was started again come after those of the one before. */
export class Tail {
  lines = $state.raw<readonly Line[]>([]);
  state = $state<"connecting" | "open" | "lost">("connecting");
  problem = $state.raw<unknown>();
  private fresh: Line[] = [];
  private next = 1;
  private seen: LogLine[] = []; // the last ones, whatever was cleared
  private before = 0; // how many are still to come of those that were there when the stream began
  private backlog: LogLine[] = [];
  private timer: ReturnType<typeof setTimeout> | undefined;
  private stream: EventSource;

  constructor(readonly source: string) {
    this.stream = new EventSource(at("/debug/logs/stream", { source, lines: BACKLOG }));
    this.stream.onopen = () => {
      this.state = "open";
    };
    this.stream.onerror = () => {
      this.state = "lost";
      if (this.stream.readyState === EventSource.CLOSED) void this.ask();
    };
    this.stream.addEventListener("connected", (event) => {
      this.before = (JSON.parse((event as MessageEvent<string>).data) as { lines: number }).lines;
      this.backlog = [];
    });
    this.stream.addEventListener("line", (event) => this.take(JSON.parse((event as MessageEvent<string>).data) as LogLine));
  }

  clear(): void {
    this.lines = this.fresh = [];
  }

  close(): void {
    this.stream.close();
    clearTimeout(this.timer);
  }

  private take(line: LogLine): void {
    if (this.before) {
      this.backlog.push(line);
      if (--this.before) return;
      this.add(unseen(this.seen, this.backlog));
    } else this.add([line]);
  }

  private add(lines: readonly LogLine[]): void {
    for (const line of lines) this.fresh.push({ ...line, at: this.next++ });
    this.seen.push(...lines);
    if (this.seen.length > 2 * BACKLOG) this.seen = this.seen.slice(-BACKLOG);
    this.later();
  }

  private later(): void {
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      this.lines = appended(this.lines, this.fresh);
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
