/** The conversation in the tab's own storage, so that it outlives a reload. It goes nowhere else. */
import type { Picture, Said } from "./request";
import type { Settings } from "./settings";
import type { Figures, Stage, Trouble } from "./step.svelte";

const NAME = "lanhaven.playground";
const MOST_CHARACTERS = 2_000_000; // of images; browsers keep some five million in all

interface KeptStep extends Said {
  model: string;
  stage: Stage;
  problem?: Trouble | undefined;
  figures?: Figures | undefined;
  finish?: string | undefined;
}

export interface KeptTurn {
  question: string;
  pictures: readonly Picture[];
  columns: readonly (readonly KeptStep[])[];
  /** Other versions of this turn and what follows it; in the place of this one is nothing. */
  fork?: { at: number; versions: readonly (readonly KeptTurn[])[] } | undefined;
}

export interface Kept {
  models: string[];
  settings: Settings;
  draft: string;
  turns: readonly KeptTurn[];
}

export function read(): Kept | undefined {
  try {
    const kept = JSON.parse(sessionStorage.getItem(NAME) ?? "null") as Kept | null;
    return kept && Array.isArray(kept.turns) && Array.isArray(kept.models) ? kept : undefined;
  } catch {
    return undefined; // a browser that keeps nothing
  }
}

export function write(now: Kept): void {
  if (!attempt(now, true) && !attempt(now, false)) attempt(undefined, false); // better nothing than an old state
}

function attempt(now: Kept | undefined, versions: boolean): boolean {
  try {
    if (now) sessionStorage.setItem(NAME, JSON.stringify({ ...now, turns: new Writing(versions).turns(now.turns) }));
    else sessionStorage.removeItem(NAME);
    return true;
  } catch {
    return false; // full, or of a browser that keeps nothing
  }
}

/** The newest images are kept, as far as there is room. */
class Writing {
  private left = MOST_CHARACTERS;

  constructor(private readonly versions: boolean) {}

  /** `forked`: whether the first of them may have other versions. */
  turns(all: readonly KeptTurn[], forked = true): KeptTurn[] {
    const newestFirst = all.toReversed().map((turn) => this.turn(turn, forked || turn !== all[0]));
    return newestFirst.reverse();
  }

  private turn({ question, pictures, columns, fork }: KeptTurn, forked: boolean): KeptTurn {
    const kept: KeptTurn = { question, pictures: pictures.filter(({ url }) => (this.left -= url.length) >= 0), columns: columns.map((column) => column.map(plain)) };
    if (fork && forked && this.versions) kept.fork = { at: fork.at, versions: fork.versions.map((version, place) => (place === fork.at ? [] : this.turns(version, false))) };
    return kept;
  }
}

function plain({ model, stage, text, reasoning, calls, problem, figures, finish }: KeptStep): KeptStep {
  return { model, stage, text, reasoning, calls, problem, figures, finish };
}
