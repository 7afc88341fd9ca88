/** What a model says in one go, while it is said: the text so far, what it waits for, its times. */
import { ApiError, request, worded } from "../../lib/api";
import { live, type LiveEvent } from "../../lib/live.svelte";
import { session } from "../../lib/session.svelte";
import { frames } from "../../lib/sse";
import type { Model } from "../../lib/types";
import { models } from "./models.svelte";
import type { Call, Said } from "./request";
import { parted } from "./thinking";

/** waiting, queued, loading, reading: nothing was said yet. The last three: it is over. */
export type Stage = "waiting" | "queued" | "loading" | "reading" | "writing" | "done" | "stopped" | "failed";

export interface Figures {
  firstTokenMs?: number;
  totalMs: number;
  promptTokens?: number;
  completionTokens?: number;
  /** The server told no number, so pieces were counted: the answer was stopped, or the engine does not count. */
  counted?: boolean;
  tokensPerSecond?: number;
}

export interface Trouble {
  message: string;
  hint?: string;
  code?: string;
  status?: number;
}

interface Chunk {
  error?: unknown;
  usage?: { prompt_tokens?: number; completion_tokens?: number } | null;
  choices?: { delta?: Delta; finish_reason?: string | null }[];
}

interface Delta {
  content?: string | null;
  reasoning_content?: string | null;
  reasoning?: string | null; // as vLLM and Ollama call it
  tool_calls?: { index: number; id?: string; function?: { name?: string; arguments?: string } }[];
}

const BROKEN = new ApiError(0, "The answer broke off: the connection was closed.", "Try again; the server's log says more (lanhaven logs).");
const OVER: ReadonlySet<Stage> = new Set(["done", "stopped", "failed"]);

export class Step implements Said {
  text = $state("");
  reasoning = $state("");
  calls = $state<Call[]>([]);
  stage = $state<Stage>("waiting");
  progress = $state<number | undefined>(); // of a load, in percent
  problem = $state.raw<Trouble | undefined>();
  figures = $state.raw<Figures | undefined>();
  finish = $state<string | undefined>();
  readonly over = $derived(OVER.has(this.stage));

  private readonly aborting = new AbortController();
  private requestId: string | undefined;
  private whole = { text: "", reasoning: "" }; // as it came
  private frame = 0;
  private began = 0;
  private first: number | undefined;
  private pieces = 0;
  private usage: Chunk["usage"];

  constructor(readonly model: string) {}

  stop(): void {
    this.aborting.abort();
  }

  /** Ask, and take what comes, to the end. Never throws. */
  async run(body: Record<string, unknown>, headers: Record<string, string> = {}): Promise<void> {
    this.began = performance.now();
    const deaf = session.may("debug") ? live.listen((events) => this.hear(events)) : models.watch(this.model, (model) => this.see(model));
    try {
      const response = await request("POST", "/v1/chat/completions", body, { signal: this.aborting.signal, headers });
      if (OVER.has(this.stage)) return;
      this.stage = "reading";
      await this.read(response);
      this.stage = "done";
    } catch (error) {
      if (this.aborting.signal.aborted) this.stage = "stopped";
      else this.fail(error);
    } finally {
      deaf();
      this.draw();
      this.figures = this.measured();
    }
  }

  private async read(response: Response): Promise<void> {
    if (!response.body) throw new ApiError(0, "The answer is empty.");
    for await (const { data } of frames(response.body)) {
      if (data === "[DONE]") return;
      const chunk = JSON.parse(data) as Chunk;
      if (chunk.error) throw worded(response.status, chunk);
      this.usage = chunk.usage ?? this.usage;
      for (const choice of chunk.choices ?? []) {
        if (choice.delta) this.take(choice.delta);
        this.finish = choice.finish_reason ?? this.finish;
      }
    }
    if (!this.finish) throw BROKEN;
  }

  private take(delta: Delta): void {
    const thought = delta.reasoning_content ?? delta.reasoning;
    if (!delta.content && !thought && !delta.tool_calls?.length) return;
    this.first ??= performance.now() - this.began;
    this.stage = "writing";
    this.pieces += 1;
    this.whole.text += delta.content ?? "";
    this.whole.reasoning += thought ?? "";
    for (const part of delta.tool_calls ?? []) this.call(part);
    this.frame ||= requestAnimationFrame(() => this.draw());
  }

  private call(part: NonNullable<Delta["tool_calls"]>[number]): void {
    while (this.calls.length <= part.index) this.calls.push({ id: `call_${this.calls.length}`, name: "", arguments: "", result: "" });
    const call = this.calls[part.index];
    if (!call) return;
    call.id = part.id ?? call.id;
    call.name += part.function?.name ?? "";
    call.arguments += part.function?.arguments ?? "";
  }

  private draw(): void {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    const { text, reasoning } = parted(this.whole.text);
    this.text = text;
    this.reasoning = this.whole.reasoning + reasoning;
    if (this.stage === "writing") this.figures = this.measured();
  }

  private fail(error: unknown): void {
    if (error instanceof TypeError) error = BROKEN; // how a browser says that a body ended too early
    else if (error instanceof ApiError && error.status === 401) error = new ApiError(401, "The session had ended before this was asked.");
    const message = error instanceof Error ? error.message : String(error);
    this.problem = error instanceof ApiError ? { message, hint: error.hint, code: error.code, status: error.status } : { message };
    this.stage = "failed";
  }

  private measured(): Figures {
    const totalMs = performance.now() - this.began;
    const tokens = this.usage?.completion_tokens ?? (this.pieces || undefined);
    const writing = this.first === undefined ? 0 : totalMs - this.first;
    const figures: Figures = { totalMs };
    if (this.first !== undefined) figures.firstTokenMs = this.first;
    if (this.usage?.prompt_tokens !== undefined) figures.promptTokens = this.usage.prompt_tokens;
    if (tokens !== undefined) figures.completionTokens = tokens;
    if (this.usage?.completion_tokens === undefined) figures.counted = true;
    if (tokens !== undefined && tokens > 1 && writing > 0) figures.tokensPerSecond = ((tokens - 1) * 1000) / writing;
    return figures;
  }

  /** As `hear`, for keys that hear nothing. */
  private see(model: Model): void {
    if (this.over || this.stage === "writing") return;
    if (model.status === "loading") {
      this.stage = "loading";
      this.progress = typeof model.load_progress === "number" ? model.load_progress * 100 : undefined;
    } else if (this.stage === "loading" && model.status === "ready") this.stage = "reading";
  }

  /** What the server tells of the time before the first token. */
  private hear(events: readonly LiveEvent[]): void {
    for (const event of events) {
      if (this.over || this.stage === "writing") return;
      if (event.name === "inference_start" && event.model === this.model && event.userAgent === navigator.userAgent) this.requestId ??= event.requestId as string;
      else if (event.name === "inference_queued" && event.requestId === this.requestId && this.stage !== "loading") this.stage = "queued";
      else if (event.modelKey === this.model) this.loading(event);
    }
  }

  private loading(event: LiveEvent): void {
    if (event.name === "model_load_start" || event.name === "model_load_progress") {
      this.stage = "loading";
      if (typeof event.progress === "number") this.progress = event.progress;
    } else if (event.name === "model_load_complete") this.stage = "reading";
  }
}
