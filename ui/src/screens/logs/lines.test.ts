import { expect, test } from "vitest";
import { appended, filtered, parts, pieces, rowsOf, unseen, written, type Line } from "./lines";

const line = (at: number, text: string, level?: string): Line => ({ at, text, ...(level ? { level } : {}) });

test("only the last lines are kept", () => {
  const lines = [line(1, "a"), line(2, "b"), line(3, "c")];
  expect(appended(lines, [line(4, "d")], 3).map((each) => each.at)).toEqual([2, 3, 4]);
  expect(appended(lines, [line(4, "d"), line(5, "e")], 1).map((each) => each.at)).toEqual([5]);
  expect(appended([], lines, 10)).toEqual(lines);
});

test("after a break only what is new comes, of a log that was written anew all", () => {
  const log = (...texts: string[]) => texts.map((text) => ({ text }));
  expect(unseen(log("a", "b", "c"), log("b", "c", "d"))).toEqual(log("d"));
  expect(unseen(log("a", "b"), log("a", "b"))).toEqual([]);
  expect(unseen(log("x", "x"), log("x", "x", "x"))).toEqual(log("x"));
  expect(unseen(log("a", "b"), log("c", "d"))).toEqual(log("c", "d"));
  expect(unseen([{ time: "1", text: "a" }], [{ time: "2", text: "a" }])).toHaveLength(1);
  expect(unseen([], log("a"))).toEqual(log("a"));
});

test("a level shows itself and what is graver, and a line without one always", () => {
  const lines = [line(1, "d", "debug"), line(2, "i", "INFO"), line(3, "w", "warning"), line(4, "c", "critical"), line(5, "engine")];
  expect(filtered(lines, "warning", "").map((each) => each.at)).toEqual([3, 4, 5]);
  expect(filtered(lines, "debug", "")).toBe(lines);
  expect(filtered(lines, "debug", "ENG").map((each) => each.at)).toEqual([5]);
});

test("wrapped lines are rows of the width, and a wide sign takes two columns", () => {
  expect(pieces("abcdefgh", 3)).toEqual(["abc", "def", "gh"]);
  expect(pieces("日本語x", 4)).toEqual(["日本", "語x"]);
  expect(pieces("👩x", 1)).toEqual(["👩", "x"]);
  expect(pieces("", 3)).toEqual([""]);
  expect(rowsOf([line(7, "abcd")], 3).map((row) => [row.id, row.text, row.first])).toEqual([["7.0", "abc", true], ["7.1", "d", false]]);
  expect(rowsOf([line(7, "abcd")])).toHaveLength(1);
});

test("what was found is told apart, whatever signs it holds", () => {
  expect(parts("a.b A.B", "a.b")).toEqual([
    { text: "a.b", found: true }, { text: " ", found: false }, { text: "A.B", found: true },
  ]); // prettier-ignore
  expect(parts("<img>", "")).toEqual([{ text: "<img>", found: false }]);
  expect(parts("none", "x")).toEqual([{ text: "none", found: false }]);
});

test("a file holds what the log held", () => {
  expect(written([{ at: 1, time: "2026-11-21T10:00:00Z", level: "info", text: "started" }, line(2, "plain")])).toBe(
    "2026-11-21T10:00:00Z info started\nplain\n",
  );
});
