import { expect, test } from "vitest";
import { parted } from "./thinking";

test("thoughts in front are told apart, also while they are written", () => {
  expect(parted("<think>\nA or B?")).toEqual({ reasoning: "A or B?", text: "" });
  expect(parted("\n<think>\nA or B?\n</think>\n\nB.")).toEqual({ reasoning: "A or B?", text: "B." });
  expect(parted("<thinking>A</thinking>B</think>")).toEqual({ reasoning: "A", text: "B</think>" });
});

test("what only speaks of the tag is no thought", () => {
  expect(parted("Use <think> so: <think>x</think>")).toEqual({ reasoning: "", text: "Use <think> so: <think>x</think>" });
  expect(parted("<thin")).toEqual({ reasoning: "", text: "<thin" });
});
