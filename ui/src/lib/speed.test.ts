import { expect, test } from "vitest";
import { speed } from "./speed";

test("speed leaves out the wait for the first token", () => {
  expect(speed({ tokenUsage: { completionTokens: 101 }, totalTimeMs: 3000, firstTokenMs: 1000 })).toBe(50);
  expect(speed({ tokenUsage: { completionTokens: 10 }, totalTimeMs: 3000, queueMs: 1000, firstTokenMs: null })).toBe(5);
  expect(speed({ tokenUsage: { completionTokens: 1 }, totalTimeMs: 1003, firstTokenMs: 1000 })).toBeUndefined();
  expect(speed({ tokenUsage: null, totalTimeMs: 3000 })).toBeUndefined();
});
