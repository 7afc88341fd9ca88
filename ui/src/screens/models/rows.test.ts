import { expect, test } from "vitest";
import type { AvailableModel, LoadedInstance } from "../../lib/types";
import { choices, filtered, rows, stateOf, until } from "./rows";

function model(path: string, more: Partial<AvailableModel> = {}): AvailableModel {
  return {
    path, size: 0, type: "llm", provider: "mock", format: null, quantization: null, architecture: null, maxContextLength: 8192, layers: null,
    capabilities: [], aliases: [], available: true, unavailableReason: null, description: null, default: false, listed: true, pinned: false,
    preload: false, loadConfig: {}, defaultInference: {}, ...more,
  }; // prettier-ignore
}

function instance(identifier: string, more: Partial<LoadedInstance> = {}): LoadedInstance {
  return {
    path: identifier, identifier, provider: "mock", type: "llm", state: "ready", sizeBytes: 0, contextLength: null, slots: 4, busy: 0, waiting: 0,
    pinned: false, automatic: false, active: false, idleSeconds: 0, expiresInSeconds: null, progress: null, stage: null, loadConfig: {},
    defaultInference: {}, error: null, reloadNeeded: false, ...more,
  }; // prettier-ignore
}

test("every model has its instances, and what is listed no more is shown while it runs", () => {
  const found = rows([model("a"), model("b")], [instance("a"), instance("a:2", { path: "a" }), instance("old")]);
  expect(found.map((each) => [each.model.path, each.instances.map((one) => one.identifier)])).toEqual([["a", ["a", "a:2"]], ["b", []], ["old", ["old"]]]);
  expect(found[2]?.model.available).toBe(false);
});

test("a filter finds words in any name, and kinds", () => {
  const all = rows([model("qwen3-8b", { aliases: ["daily"], quantization: "Q4_K_M" }), model("minilm", { type: "embedding" })], [instance("minilm")]);
  const names = (...how: Parameters<typeof filtered> extends [unknown, ...infer Rest] ? Rest : never) => filtered(all, ...how).map((each) => each.model.path);
  expect(names("", "all")).toEqual(["qwen3-8b", "minilm"]);
  expect(names("DAILY q4", "all")).toEqual(["qwen3-8b"]);
  expect(names("daily q8", "all")).toEqual([]);
  expect(names("", "loaded")).toEqual(["minilm"]);
  expect(names("", "embedding")).toEqual(["minilm"]);
  expect(choices([model("a")])).toEqual(["all", "loaded"]);
  expect(choices(all.map((each) => each.model))).toEqual(["all", "loaded", "llm", "embedding"]);
});

test("states in a word", () => {
  expect(stateOf(instance("a")).text).toBe("ready");
  expect(stateOf(instance("a", { busy: 1 })).text).toBe("busy 1/4");
  expect(stateOf(instance("a", { busy: 4, waiting: 2 })).text).toBe("busy 4/4 +2");
  expect(stateOf(instance("a", { busy: 3, slots: null })).text).toBe("busy 3");
  expect(stateOf(instance("a", { state: "draining", busy: 1 })).text).toBe("ends after 1");
  expect(stateOf(instance("a", { state: "loading", stage: "waiting for room (busy)" })).text).toBe("waiting");
});

test("until when it stays counts down between two looks", () => {
  expect(until(instance("a", { pinned: true, expiresInSeconds: 5 }), 0)).toBe("pinned");
  expect(until(instance("a", { expiresInSeconds: 90 }), 30_000)).toBe("1 min");
  expect(until(instance("a", { expiresInSeconds: 3600 }), 1_000)).toBe("1 h");
  expect(until(instance("a", { expiresInSeconds: 1 }), 30_000)).toBe("0 ms");
  expect(until(instance("a"), 0)).toBe("no limit");
  expect(until(instance("a", { busy: 1 }), 0)).toBe("in use");
  expect(until(instance("a", { state: "loading" }), 0)).toBe("");
});
