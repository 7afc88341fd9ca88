import { expect, test } from "vitest";
import type { LoadEstimate, Memory } from "../../lib/types";
import { parts, planned } from "./memory";

const MEMORY: Memory = { totalBytes: 100, freeBytes: 60, availableBytes: 60, models: [{ instanceId: "a", modelKey: "a", bytes: 30, state: "ready" }] };
const PLAN = { modelKey: "b", neededBytes: 20, availableBytes: 60, evictableBytes: 30, evicts: [] as string[], fits: true } as unknown as LoadEstimate;
const told = (found: ReturnType<typeof parts>) => Object.fromEntries(found.parts.map((each) => [each.id, each.bytes]));

test("models, others, free", () => {
  expect(told(parts(MEMORY))).toEqual({ "model a": 30, other: 10, free: 60 });
});

test("memory that a mapped file shares with what is free counts once", () => {
  expect(told(parts({ ...MEMORY, freeBytes: 90 }))).toEqual({ "model a": 30, free: 70 });
});

test("a budget is the whole, and what it cannot have of the machine is others'", () => {
  expect(told(parts({ ...MEMORY, budgetBytes: 50, availableBytes: 20 }))).toEqual({ "model a": 30, free: 20 });
  expect(told(parts({ ...MEMORY, budgetBytes: 50, availableBytes: 15 }))).toEqual({ "model a": 30, other: 5, free: 15 });
});

test("a plan that fits lies in what is free", () => {
  expect(told(planned(MEMORY, PLAN))).toEqual({ "model a": 30, plan: 20, other: 10, free: 40 });
});

test("those who would leave are marked, and make room", () => {
  const found = planned(MEMORY, { ...PLAN, neededBytes: 80, evicts: ["a"] });
  expect(told(found)).toEqual({ "model a": 30, plan: 80, other: 10, free: 10 });
  expect(found.parts[0]?.leaves).toBe(true);
});

test("what does not fit stands out", () => {
  expect(told(planned(MEMORY, { ...PLAN, neededBytes: 150, fits: false }))).toMatchObject({ plan: 90, excess: 60 });
});
