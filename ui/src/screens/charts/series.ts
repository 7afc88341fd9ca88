/** What the store gives for a window of time, and what each chart shows of it. */
import { bytes, count, ms, rate } from "../../lib/format";
import type { HistorySeries } from "../../lib/types";

export type Measure = number | null; // null: nothing was measured in that step

/** What the store gives for a window, and when it came: the last step is not over then. */
export type Series = HistorySeries & { asOf: number }; // seconds since 1970

export const WINDOWS: readonly HistorySeries["window"][] = ["15m", "1h", "6h", "24h", "7d"];
export type Window = HistorySeries["window"];
export const SPOKEN: Record<Window, string> = { "15m": "15 minutes", "1h": "hour", "6h": "6 hours", "24h": "24 hours", "7d": "7 days" };

export const INKS = ["--series-1", "--series-2", "--series-3", "--series-4", "--series-5"] as const;
export type Ink = (typeof INKS)[number];

export interface Line {
  label: string;
  ink: Ink;
  filled?: boolean;
  values: (series: Series) => Measure[];
  /** How a number of it is written; the chart's own way if absent. */
  write?: (value: Measure) => string;
  /** On the axis at the right. */
  right?: boolean;
}

export interface ChartKind {
  id: string;
  title: string;
  lines: Line[];
  write: (value: Measure) => string;
  /** The axis has whole numbers only. */
  whole?: boolean;
}

/** Counts as rates. The step that is not over yet is as long as it has been, and tells nothing in its first quarter. */
const perSecond = (pick: (series: Series) => number[]) => (series: Series) => {
  const last = series.times.length - 1;
  const passed = Math.min(series.step, series.asOf - (series.times[last] ?? 0));
  return pick(series).map((each, at) => (at < last ? each / series.step : passed < series.step / 4 ? null : each / passed));
};
const completed = (series: Series) => series.requests.map((all, at) => Math.max(0, all - (series.errors[at] ?? 0) - (series.cancelled[at] ?? 0)));
const small = (value: Measure) => (value === null ? "–" : value === 0 ? "0" : value < 10 ? value.toFixed(2) : rate(value));
const tidy = (value: Measure) => (value === null || Number.isInteger(value) ? count(value) : value.toFixed(1));

export const CHARTS: readonly ChartKind[] = [
  {
    id: "requests", title: "Requests per second", write: small,
    lines: [
      { label: "completed", ink: "--series-1", filled: true, values: perSecond(completed) },
      { label: "failed", ink: "--series-4", values: perSecond((series) => series.errors) },
      { label: "cancelled", ink: "--series-5", values: perSecond((series) => series.cancelled) },
    ],
  },
  {
    id: "first-token", title: "Time to first token", write: ms, whole: true,
    lines: [
      { label: "p50", ink: "--series-1", filled: true, values: (series) => series.firstTokenP50Ms },
      { label: "p95", ink: "--series-2", values: (series) => series.firstTokenP95Ms },
    ],
  },
  {
    id: "tokens", title: "Tokens per second", write: rate,
    lines: [
      { label: "one answer", ink: "--series-1", filled: true, values: (series) => series.tokensPerSecond },
      { label: "all together", ink: "--series-3", values: perSecond((series) => series.completionTokens) },
    ],
  },
  {
    id: "queue", title: "Queue", write: ms, whole: true,
    lines: [
      { label: "wait p95", ink: "--series-2", filled: true, values: (series) => series.queueP95Ms },
      { label: "waiting", ink: "--series-3", values: (series) => series.waiting, write: tidy, right: true },
      { label: "running", ink: "--series-5", values: (series) => series.inflight, write: tidy, right: true },
    ],
  },
  {
    id: "memory", title: "Memory of models", write: bytes, whole: true,
    lines: [{ label: "in use", ink: "--series-1", filled: true, values: (series) => series.memoryBytes }],
  },
  {
    id: "errors", title: "Failed and cancelled", write: count, whole: true,
    lines: [
      { label: "failed", ink: "--series-4", filled: true, values: (series) => series.errors },
      { label: "cancelled", ink: "--series-5", values: (series) => series.cancelled },
    ],
  },
]; // prettier-ignore

/** The arrays that uPlot draws: times, then each line. */
export function aligned(series: Series, chart: ChartKind): [number[], ...Measure[][]] {
  return [series.times, ...chart.lines.map((line) => line.values(series))];
}

export function write(chart: ChartKind, line: Line, value: Measure | undefined): string {
  return (line.write ?? chart.write)(value ?? null);
}

export interface Totals {
  requests: number;
  failedShare: number | null;
  firstTokenMs: number | null;
  tokensPerSecond: number | null;
  promptTokens: number;
  completionTokens: number;
}

/** The window in a few numbers. The first token is the median of the steps' medians, each as heavy as its requests. */
export function totals(series: Series): Totals {
  const requests = sum(series.requests);
  return {
    requests,
    failedShare: requests ? sum(series.errors) / requests : null,
    firstTokenMs: weightedMedian(series.firstTokenP50Ms, series.requests),
    tokensPerSecond: weightedMean(series.tokensPerSecond, series.completionTokens),
    promptTokens: sum(series.promptTokens),
    completionTokens: sum(series.completionTokens),
  };
}

/** What a person who does not see the chart is told of it. */
export function summary(series: Series, chart: ChartKind): string {
  const parts = chart.lines.map((line) => {
    const seen = line.values(series).filter((each): each is number => each !== null);
    const last = seen.at(-1);
    if (last === undefined) return `${line.label}: nothing measured`;
    return `${line.label}: last ${write(chart, line, last)}, least ${write(chart, line, Math.min(...seen))}, most ${write(chart, line, Math.max(...seen))}`;
  });
  return `${chart.title}. ${parts.join(". ")}.`;
}

/** Whether the window holds any request at all. */
export function silent(series: Series): boolean {
  return !series.requests.some(Boolean);
}

function sum(values: readonly number[]): number {
  return values.reduce((all, each) => all + each, 0);
}

export function weightedMean(values: readonly Measure[], weights: readonly number[]): number | null {
  let [all, heavy] = [0, 0];
  values.forEach((value, at) => {
    if (value === null) return;
    const weight = weights[at] || 1;
    all += value * weight;
    heavy += weight;
  });
  return heavy ? all / heavy : null;
}

export function weightedMedian(values: readonly Measure[], weights: readonly number[]): number | null {
  const pairs = values.flatMap((value, at) => (value === null ? [] : [[value, weights[at] || 1] as const])).sort((a, b) => a[0] - b[0]);
  const half = sum(pairs.map((pair) => pair[1])) / 2;
  let seen = 0;
  for (const [value, weight] of pairs) if ((seen += weight) >= half) return value;
  return null;
}
