/** The conversation of this tab: it goes on while another screen is shown, and stays until the tab is closed. */
import { session } from "../../lib/session.svelte";
import { models } from "./models.svelte";
import type { Picture, Replay, Said } from "./request";
import { messages, requestBody } from "./request";
import { NONE, type Settings, wrong } from "./settings";
import { Step } from "./step.svelte";
import { type KeptTurn, read, write } from "./kept";

const STAYED_MS = 10_000; // who was about to leave, and is here still
const DROP_OLDEST = { "x-lanhaven-context-overflow": "drop-oldest" };

/** The versions of a conversation from one place on: of a question that was edited, of an answer that was given again. */
export class Fork {
  /** Which one is shown: what stands in its place here is older. */
  at = $state(0);
  versions = $state.raw<readonly (readonly Turn[])[]>([]);

  constructor(versions: readonly (readonly Turn[])[], at: number) {
    this.versions = versions;
    this.at = at;
  }

  /** Show this one, too, in place of `now`. An attempt that brought nothing is no version. */
  add(now: readonly Turn[], made: Turn): void {
    const vain = now.length === 1 && now.every((turn) => turn.columns.flat().every((step) => !step.text && !step.reasoning && !step.calls.length));
    const others = vain ? this.versions.toSpliced(this.at, 1) : this.versions.with(this.at, now);
    this.versions = [...others, [made]];
    this.at = others.length;
  }
}

export class Turn {
  readonly id = crypto.getRandomValues(new Uint32Array(1))[0] ?? 0;
  columns = $state<Step[][]>([]);
  /** Of the first turn of each version. */
  fork = $state.raw<Fork | undefined>();

  constructor(
    readonly question: string,
    readonly pictures: readonly Picture[],
    columns: Step[][] = [],
  ) {
    this.columns = columns;
  }
}

class Chat {
  turns = $state<Turn[]>([]);
  /** How often something was asked. */
  asked = $state(0);
  /** One model, or two side by side. */
  models = $state<string[]>([""]);
  settings = $state<Settings>({ ...NONE });
  draft = $state("");
  pictures = $state<Picture[]>([]);
  readonly busy = $derived(this.turns.some((turn) => turn.columns.some((column) => column.at(-1)?.over === false)));
  readonly ready = $derived(!this.busy && Boolean(this.draft.trim() || this.pictures.length) && (this.models.every(Boolean) || !models.known) && !Object.keys(wrong(this.settings)).length);

  private leaving = false;

  constructor() {
    session.onLeave(() => this.forget());
    addEventListener("beforeunload", () => this.leave());
    addEventListener("pagehide", () => this.keep());
    const kept = read();
    if (!kept) return;
    this.models = kept.models;
    this.settings = { ...NONE, ...kept.settings };
    this.draft = kept.draft;
    this.turns = kept.turns.map(told);
  }

  /** Send what stands in the box. */
  send(): void {
    if (!this.ready) return;
    const { draft, pictures } = this;
    this.draft = "";
    this.pictures = [];
    this.ask(draft.trim(), pictures, this.turns.length);
  }

  /** A question in this place; what stood there and behind it stays as another version. `shorten`: the oldest turns may go. */
  ask(question: string, pictures: readonly Picture[], place: number, shorten = false): void {
    this.stop();
    const turn = new Turn(question, pictures, this.models.map((model) => [new Step(model)]));
    const now = this.turns.slice(place);
    if (now[0]) {
      turn.fork = now[0].fork ??= new Fork([now], 0);
      turn.fork.add(now, turn);
    }
    this.turns = [...this.turns.slice(0, place), turn];
    this.asked += 1;
    this.models.forEach((_, column) => void this.run(column, shorten));
  }

  /** The answers of this turn once more, by the models chosen now. */
  retry(turn: Turn, shorten = false): void {
    this.ask(turn.question, turn.pictures, this.turns.indexOf(turn), shorten);
  }

  /** The version before (-1) or after (1) this turn and what follows it. */
  leaf(turn: Turn, by: number): void {
    const { fork } = turn;
    const wanted = fork?.versions[fork.at + by];
    if (!fork || !wanted) return;
    this.stop();
    const place = this.turns.indexOf(turn);
    fork.versions = fork.versions.with(fork.at, this.turns.slice(place));
    fork.at += by;
    this.turns = [...this.turns.slice(0, place), ...wanted];
    this.keep();
  }

  /** The results of tools are typed: on with it. */
  goOn(turn: Turn, column: number): void {
    const steps = turn.columns[column];
    const last = steps?.at(-1);
    if (!steps || !last) return;
    this.turns = this.turns.slice(0, this.turns.indexOf(turn) + 1);
    steps.push(new Step(last.model));
    void this.run(column);
  }

  remove(turn: Turn): void {
    for (const step of turn.columns.flat()) step.stop();
    this.turns = this.turns.filter((each) => each !== turn);
    this.keep();
  }

  clear(): void {
    this.stop();
    this.turns = [];
    this.keep();
  }

  private forget(): void {
    this.clear();
    this.settings = { ...NONE };
    this.draft = "";
    this.pictures = [];
    this.models = [""];
  }

  stop(): void {
    for (const step of this.turns.at(-1)?.columns.flat() ?? []) if (!step.over) step.stop();
  }

  /** The request that this column's answer is asked with: without an answer of its own, that of the box. */
  body(column: number): Record<string, unknown> {
    const waits = this.draft.trim() || this.pictures.length;
    const open = waits || !this.turns.length ? [{ question: this.draft.trim() || "Hello!", pictures: this.pictures, columns: [[]] }] : [];
    const turns = [...this.turns, ...open];
    const last = turns.at(-1);
    const before = last ? [...turns.slice(0, -1), { question: last.question, pictures: last.pictures, columns: [[]] }] : [];
    return requestBody(this.models[column] ?? "", messages(before, column, this.settings.system, models.sees(this.models[column])), this.settings);
  }

  replay(replay: Replay): void {
    this.stop();
    this.settings = replay.settings;
    this.turns = replay.turns.map((turn) => new Turn(turn.question, turn.pictures, turn.columns.map((column) => column.map((said) => spoken({ ...said, model: replay.model ?? "", stage: "done" })))));
    this.draft = replay.question;
    this.pictures = replay.pictures;
    if (replay.model) this.models = [replay.model];
    this.keep();
  }

  keep(): void {
    if (!this.leaving) write({ models: this.models, settings: this.settings, draft: this.draft, turns: this.turns });
  }

  /** Browsers break answers off before the page goes, and those have not failed: they are kept as they are now. */
  private leave(): void {
    this.keep();
    this.leaving = true;
    setTimeout(() => (this.leaving = false), STAYED_MS);
  }

  private async run(column: number, shorten = false): Promise<void> {
    const step = this.turns.at(-1)?.columns[column]?.at(-1);
    if (!step) return;
    const body = requestBody(step.model, messages(this.turns, column, this.settings.system, models.sees(step.model)), this.settings);
    await step.run(body, shorten ? DROP_OLDEST : {});
    if (!session.may("debug")) void models.look(); // what is loaded now: others hear it
    this.keep();
  }
}

function told(kept: KeptTurn): Turn {
  const turn = new Turn(kept.question, kept.pictures, kept.columns.map((column) => column.map(spoken)));
  if (!kept.fork) return turn;
  const { at, versions } = kept.fork;
  const fork = new Fork(versions.map((version, place) => (place === at ? [turn] : version.map(told))), at);
  for (const [first] of fork.versions) if (first) first.fork = fork;
  return turn;
}

function spoken(said: Said & Partial<Step> & { model: string }): Step {
  const step = new Step(said.model);
  step.text = said.text;
  step.reasoning = said.reasoning;
  step.calls = said.calls.map((call) => ({ ...call }));
  step.stage = said.stage === "done" || said.stage === "failed" ? said.stage : "stopped";
  step.problem = said.problem;
  step.figures = said.figures;
  step.finish = said.finish;
  return step;
}

export const chat = new Chat();
