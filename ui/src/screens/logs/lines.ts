/** Lines of a log: the last ones of many, those that a filter leaves, and the rows that they are shown in. */
import type { LogLine } from "../../lib/types";

/** A line, numbered as it came. */
export type Line = LogLine & { at: number };

export const MOST = 10_000;

/** The last `most` of both. */
export function appended(lines: readonly Line[], fresh: readonly Line[], most = MOST): Line[] {
  if (fresh.length >= most) return fresh.slice(-most);
  return [...lines.slice(Math.max(0, lines.length + fresh.length - most)), ...fresh];
}

/** What of a log's last lines comes after those that were seen before a break: it grows at one end, and loses at the other. */
export function unseen(seen: readonly LogLine[], last: readonly LogLine[]): readonly LogLine[] {
  const same = (one: LogLine | undefined, other: LogLine | undefined) => one?.text === other?.text && one?.time === other?.time;
  // From the longest on: lines may repeat.
  for (let kept = Math.min(seen.length, last.length); kept > 0; kept--) {
    if (last.slice(0, kept).every((line, at) => same(line, seen[seen.length - kept + at]))) return last.slice(kept);
  }
  return last;
}

export const LEVELS = ["debug", "info", "warning", "error"] as const;
export type Level = (typeof LEVELS)[number];

/** How grave a line is; one that says no level is as grave as any, so that no filter hides it. */
export function gravity(level: string | undefined): number {
  const said = level?.toLowerCase();
  if (said === undefined || said === "critical" || said === "exception") return LEVELS.length - 1;
  const known = LEVELS.indexOf(said as Level);
  return known < 0 ? LEVELS.indexOf("info") : known;
}

export function filtered(lines: readonly Line[], level: Level, text: string): readonly Line[] {
  const least = LEVELS.indexOf(level);
  const wanted = text.toLowerCase();
  if (least <= 0 && !wanted) return lines;
  return lines.filter((line) => gravity(line.level) >= least && (!wanted || line.text.toLowerCase().includes(wanted)));
}

/** What one row shows: a line, or when lines are wrapped, a piece of one. */
export interface Row {
  id: string;
  line: Line;
  text: string;
  first: boolean;
}

const NARROW = /^[\x20-\u10ff]*$/; // most lines, by far
const WIDE = /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|[\u{1f000}-\u{1fbff}\u{20000}-\u{3fffd}]/u;

/** Rows of at most `columns` columns of a fixed-width type; without a number each line is one row. */
export function rowsOf(lines: readonly Line[], columns?: number): Row[] {
  if (!columns) return lines.map((line) => ({ id: `${line.at}`, line, text: line.text, first: true }));
  return lines.flatMap((line) => pieces(line.text, columns).map((text, piece) => ({ id: `${line.at}.${piece}`, line, text, first: piece === 0 })));
}

export function pieces(text: string, columns: number): string[] {
  const made: string[] = [];
  if (NARROW.test(text)) {
    for (let from = 0; from < text.length || from === 0; from += columns) made.push(text.slice(from, from + columns));
    return made;
  }
  let [piece, room] = ["", columns];
  for (const sign of text) {
    const wide = WIDE.test(sign) ? 2 : 1;
    if (wide > room && piece) {
      made.push(piece);
      [piece, room] = ["", columns];
    }
    piece += sign;
    room -= wide;
  }
  return [...made, piece];
}

/** A text in parts, those that a filter found and those between. */
export function parts(text: string, wanted: string): { text: string; found: boolean }[] {
  if (!wanted) return [{ text, found: false }];
  const lower = text.toLowerCase();
  const needle = wanted.toLowerCase();
  if (lower.length !== text.length) return [{ text, found: false }]; // a sign that grows in lower case: places do not agree
  const made = [];
  let from = 0;
  for (let at = lower.indexOf(needle); at >= 0; at = lower.indexOf(needle, from)) {
    made.push({ text: text.slice(from, at), found: false }, { text: text.slice(at, at + needle.length), found: true });
    from = at + needle.length;
  }
  return [...made, { text: text.slice(from), found: false }].filter((part) => part.text);
}

/** As a file. */
export function written(lines: readonly Line[]): string {
  return lines.map((line) => [line.time, line.level, line.text].filter(Boolean).join(" ") + "\n").join("");
}
