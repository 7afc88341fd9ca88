import { expect, test } from "vitest";
import type { AvailableModel } from "../../lib/types";
import { ApiError } from "../../lib/api";
import { changes, loadForm, order, samplingForm, ttls, wrong } from "./form";
import { byField, failed, remedies } from "./remedy";

const MODEL = { path: "a", pinned: true, loadConfig: { contextLength: 4096, gpu: { layers: 20 }, ttlSeconds: 1800 }, defaultInference: { temperature: 0.5, stopStrings: ["x"] } } as unknown as AvailableModel;

test("an order says what the form says, and nothing else", () => {
  expect(order(MODEL, loadForm({}), samplingForm({}))).toEqual({ modelKey: "a", loadConfig: {}, activate: true });
  const form = loadForm({}, { contextLength: 2048, gpu: "ratio", gpuRatio: 50, flashAttention: "off", instanceId: " b ", ttl: "0", pinned: true, activate: false });
  expect(order(MODEL, form, samplingForm({ temperature: 0 }))).toEqual({
    modelKey: "a", instanceId: "b", activate: false, pinned: true, ttlSeconds: 0,
    loadConfig: { contextLength: 2048, gpu: { ratio: 0.5 }, flashAttention: false }, defaultInference: { temperature: 0 },
  }); // prettier-ignore
});

test("what is kept is what was changed; what is not said any more is taken out", () => {
  const form = loadForm(MODEL.loadConfig, { pinned: true });
  expect(form).toMatchObject({ contextLength: 4096, gpu: "layers", gpuLayers: 20, ttl: "1800" });
  expect(changes(MODEL, form, samplingForm(MODEL.defaultInference))).toEqual({});
  expect(changes(MODEL, { ...form, contextLength: null, slots: 2, ttl: "", pinned: false }, samplingForm({ topP: 0.9 }))).toEqual({
    load: { contextLength: null, slots: 2 }, defaults: { temperature: null, topP: 0.9, stopStrings: null }, ttl: null, pinned: null,
  }); // prettier-ignore
});

test("a figure out of its bounds is said before anything is asked", () => {
  expect(wrong({ contextLength: 0, slots: 1.5, temperature: 3, cpuThreads: null, ropeFrequencyBase: 0 })).toEqual({
    contextLength: "At least 1.", slots: "A whole number.", temperature: "At most 2.", ropeFrequencyBase: "Above 0.",
  }); // prettier-ignore
});

test("an idle time that is none of the choices is one", () => {
  expect(ttls("77").at(-1)).toEqual({ value: "77", text: "77 s" });
});

test("where memory is short, the server's own ways out can be pressed", () => {
  const error = new ApiError(503, "too little", "unload b", "insufficient_memory", { largestContext: 2048, kept: ["b"] });
  const body = { modelKey: "a", loadConfig: { slots: 2 } };
  expect(remedies(failed(body, error))).toEqual([
    { text: "Load with 2,048 tokens", order: { modelKey: "a", loadConfig: { slots: 2, contextLength: 2048 } } },
    { text: "Unload b, then load", order: body, unload: "b" },
    { text: "Load anyway", order: { ...body, force: true } },
  ]);
  const taken = failed(body, new ApiError(409, "loaded already", undefined, "instance_conflict", { instanceId: "b" }));
  expect(remedies(taken)).toEqual([{ text: "Unload b, then load", order: body, unload: "b" }]);
  expect(remedies({ modelKey: "a", message: "a tensor is missing" })).toEqual([{ text: "Try again", order: { modelKey: "a" } }]);
});

test("a refused body tells which fields", () => {
  const error = new ApiError(400, "Validation failed", undefined, undefined, { details: [{ path: ["loadConfig", "slots"], message: "too small" }] });
  expect(byField(error)).toEqual({ "loadConfig.slots": "too small" });
  expect(byField(new Error("x"))).toEqual({});
});
