/** The parts of the memory bar. Pure. */
import type { LoadEstimate, Memory } from "../../lib/types";

export interface Part {
  id: string;
  name: string;
  kind: "model" | "other" | "free" | "plan" | "excess";
  bytes: number;
  colour: number;
  leaves?: boolean;
  loading?: boolean;
}

export interface Parts {
  parts: Part[];
  total: number;
}

/**
 * Who holds what, of the machine, or of the budget where there is one. An engine that maps its file counts in the server's figures both as the model's and as free (the system
 * could take it back): the models come first, then the others, and what is left is free.
 */
export function parts(memory: Memory): Parts {
  const models = memory.models.filter((each) => each.bytes > 0).map((each, index): Part => ({
    id: `model ${each.instanceId}`, name: each.instanceId, kind: "model", bytes: each.bytes, colour: 1 + (index % 4), loading: each.state === "loading",
  })); // prettier-ignore
  const held = sum(models);
  const total = Math.max(memory.budgetBytes ?? memory.totalBytes, held);
  const free = memory.budgetBytes === undefined ? memory.freeBytes : memory.availableBytes;
  const other = Math.max(0, total - free - held);
  const found: Part[] = [...models, { id: "other", name: "other programs", kind: "other", bytes: other, colour: 5 }, { id: "free", name: "free", kind: "free", bytes: total - held - other, colour: 5 }];
  return { parts: found.filter((each) => each.bytes > 0), total };
}

/** The same with a load that is planned: where it would lie, who would leave for it, and how much is too much. */
export function planned(memory: Memory, plan: LoadEstimate): Parts {
  const now = parts(memory);
  const kept = now.parts.filter((each) => each.kind !== "free").map((each) => (plan.evicts.includes(each.name) && each.kind === "model" ? { ...each, leaves: true } : each));
  const room = Math.max(0, plan.availableBytes);
  const freed = sum(kept.filter((each) => each.leaves));
  const excess = plan.fits ? 0 : Math.max(0, plan.neededBytes - plan.availableBytes - plan.evictableBytes);
  const inside = Math.max(0, Math.min(plan.neededBytes - excess, room + (plan.fits ? freed : plan.evictableBytes)));
  const free = Math.max(0, now.total - sum(kept) - Math.max(0, inside - freed));
  const found: Part[] = [
    ...kept.filter((each) => each.kind === "model"),
    { id: "plan", name: plan.modelKey, kind: "plan", bytes: inside, colour: 1 },
    { id: "excess", name: "too much", kind: "excess", bytes: excess, colour: 5 },
    ...kept.filter((each) => each.kind === "other"),
    { id: "free", name: "free", kind: "free", bytes: free, colour: 5 },
  ];
  return { parts: found.filter((each) => each.bytes > 0), total: sum(found) };
}

function sum(all: readonly Part[]): number {
  return all.reduce((total, each) => total + each.bytes, 0);
}
