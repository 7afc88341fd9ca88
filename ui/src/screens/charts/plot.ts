/** A chart kind as options of uPlot: fixed margins (nothing moves when numbers grow), colours asked at each drawing. */
import type uPlot from "uplot";
import { colours } from "../../lib/colours";
import { INKS, type ChartKind, write } from "./series";

const NAMES = [...INKS, "--ink-3", "--line", "--surface"] as const;
const MARGIN = 64;
const DAY = 86_400;
// Distances of marks, so that each can be written with the digits that a chart has: never 0.025 as 0.03.
const WHOLE = Array.from({ length: 14 }, (_, power) => 10 ** power).flatMap((each) => [each, 2 * each, 5 * each]);
const HUNDREDTHS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, ...WHOLE];

export class Palette {
  private now = colours(NAMES);

  renew(): void {
    this.now = colours(NAMES);
  }

  ink(name: (typeof NAMES)[number]): string {
    return this.now[name];
  }

  /** The same colour, seen through. */
  wash(name: (typeof NAMES)[number]): string {
    return this.now[name].replace(/^rgb\((.*)\)$/, "rgba($1, 0.12)");
  }
}

export function options(chart: ChartKind, palette: Palette, size: { width: number; height: number }, oncursor: (at: number | null) => void): uPlot.Options {
  const right = chart.lines.some((line) => line.right);
  const font = "12px system-ui, sans-serif";
  const axis = { stroke: () => palette.ink("--ink-3"), font, ticks: { show: false }, gap: 6 };
  const grid = { stroke: () => palette.ink("--line"), width: 1 };
  const scale: uPlot.Scale = { range: (_plot, _least, most) => [0, most > 0 ? most * 1.1 : 1] };
  const other = chart.lines.find((line) => line.right);
  return {
    ...size,
    padding: [10, right ? 0 : 24, 0, 0],
    legend: { show: false },
    cursor: { sync: { key: "charts", setSeries: false }, drag: { x: false, y: false }, y: false, points: { size: 7 } },
    scales: { x: { time: true }, y: scale, ...(right ? { count: scale } : {}) },
    axes: [
      { ...axis, grid: { show: false }, size: 22, space: 64, values: (_plot, at) => at.map((each, index) => moment(each, at[1]! - at[0]!, index)) },
      { ...axis, grid, size: MARGIN, space: 34, values: (plot, at) => at.map((each) => (measured(plot) ? short(write(chart, chart.lines[0]!, each)) : "")), incrs: chart.whole ? WHOLE : HUNDREDTHS },
      ...(other ? [{ ...axis, grid: { show: false }, scale: "count", side: 1 as const, size: 40, space: 34, incrs: WHOLE, values: (_plot: uPlot, at: number[]) => at.map(String) }] : []),
    ],
    series: [
      {},
      ...chart.lines.map((line): uPlot.Series => ({
        label: line.label,
        scale: line.right ? "count" : "y",
        stroke: () => palette.ink(line.ink),
        ...(line.filled ? { fill: () => palette.wash(line.ink) } : {}),
        width: 1.75,
        spanGaps: false,
        points: { size: 5, show: false, filter: lone },
      })),
    ],
    hooks: { setCursor: [(plot) => oncursor(plot.cursor.idx ?? null)] },
  };
}

/** Whether the left axis has anything to tell. */
function measured(plot: uPlot): boolean {
  return plot.data.some((values, side) => side > 0 && plot.series[side]?.scale === "y" && Array.from(values).some((each) => each != null));
}

/** "1.00" -> "1", "6.0 GB" -> "6 GB". */
function short(text: string): string {
  return text.replace(/\.0+(?!\d)/, "");
}

/** Which measures stand alone: a line needs two, so they are drawn as points. */
function lone(plot: uPlot, side: number): number[] | null {
  const values = plot.data[side] ?? [];
  const alone = [...values.keys()].filter((at) => values[at] != null && values[at - 1] == null && values[at + 1] == null);
  return alone.length ? alone : null;
}

/** "14:30"; at midnight, and on an axis of whole days, "Sat 21". */
export function moment(seconds: number, step: number, index = 0): string {
  const time = new Date(seconds * 1000);
  const midnight = time.getHours() === 0 && time.getMinutes() === 0;
  if (step >= DAY || (midnight && (step >= 3600 || index > 0))) {
    return time.toLocaleDateString("en-GB", { weekday: "short", day: "numeric" });
  }
  return time.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
}
