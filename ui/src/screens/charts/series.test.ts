import { expect, test } from "vitest";
import { aligned, CHARTS, silent, summary, totals, weightedMedian, type ChartKind, type Series } from "./series";

const series: Series = {
  window: "1h", step: 10, times: [100, 110, 120],
  requests: [20, 0, 10], errors: [1, 0, 2], cancelled: [0, 0, 3],
  firstTokenP50Ms: [200, null, 400], firstTokenP95Ms: [900, null, 1500], tokensPerSecond: [50, null, 100],
  promptTokens: [100, 0, 50], completionTokens: [300, 0, 100], queueP95Ms: [0, null, 20],
  waiting: [0, 0, 1], inflight: [1, 0, 2], memoryBytes: [null, 1e9, 2e9], models: ["a"], keys: [], asOf: 125,
}; // prettier-ignore

const chart = (id: string): ChartKind => CHARTS.find((each) => each.id === id)!;

test("requests are told by outcome and second, and what failed did not complete", () => {
  expect(aligned(series, chart("requests"))).toEqual([[100, 110, 120], [1.9, 0, 1], [0.1, 0, 0.4], [0, 0, 0.6]]);
});

test("a step that has only begun tells no rate", () => {
  expect(aligned({ ...series, asOf: 121 }, chart("requests"))[1]).toEqual([1.9, 0, null]);
  expect(aligned({ ...series, asOf: 500 }, chart("requests"))[1]).toEqual([1.9, 0, 0.5]);
});

test("a gap stays a gap", () => {
  expect(aligned(series, chart("first-token"))[1]).toEqual([200, null, 400]);
  expect(aligned(series, chart("memory"))[1]).toEqual([null, 1e9, 2e9]);
});

test("every line of every chart is as long as the times", () => {
  for (const each of CHARTS) for (const line of aligned(series, each)) expect(line).toHaveLength(3);
});

test("the window in a few numbers weighs each step by what happened in it", () => {
  expect(totals(series)).toEqual({
    requests: 30, failedShare: 0.1, firstTokenMs: 200, tokensPerSecond: 62.5, promptTokens: 150, completionTokens: 400,
  }); // prettier-ignore
  expect(weightedMedian([5, 1, 9], [1, 1, 8])).toBe(9);
});

test("nothing measured is nothing, not zero", () => {
  const empty = { ...series, requests: [0, 0, 0], firstTokenP50Ms: [null, null, null], tokensPerSecond: [null, null, null] };
  expect(silent(empty)).toBe(true);
  expect(silent(series)).toBe(false);
  expect(totals(empty)).toMatchObject({ failedShare: null, firstTokenMs: null, tokensPerSecond: null });
  expect(summary(empty, chart("first-token"))).toContain("p50: nothing measured");
});

test("a summary says each line's last, least and most", () => {
  expect(summary(series, chart("first-token"))).toBe(
    "Time to first token. p50: last 400 ms, least 200 ms, most 400 ms. p95: last 1.5 s, least 900 ms, most 1.5 s.",
  );
});
