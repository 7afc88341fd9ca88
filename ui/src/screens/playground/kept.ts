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

interface KeptTurn {
  question: string;
  pictures: readonly Picture[];
  columns: readonly (readonly KeptStep[])[];
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
  let left = MOST_CHARACTERS;
  const turns = now.turns.toReversed().map((turn) => {
    const pictures = turn.pictures.filter(({ url }) => (left -= url.length) >= 0);
    return { question: turn.question, pictures, columns: turn.columns.map((column) => column.map(plain)) };
  });
  try {
    sessionStorage.setItem(NAME, JSON.stringify({ ...now, turns: turns.reverse() }));
  } catch {
    try {
      sessionStorage.removeItem(NAME); // better nothing than an old state
    } catch {
      /* as above */
    }
  }
}

function plain({ model, stage, text, reasoning, calls, problem, figures, finish }: KeptStep): KeptStep {
  return { model, stage, text, reasoning, calls, problem, figures, finish };
}
