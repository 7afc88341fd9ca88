import { expect, test } from "vitest";
import type { ApiKey } from "../../lib/types";
import { change, ends, keyForm, lines, newKey, share, wrong } from "./form";

const USED = { requestsPerMinute: 0, requestsPerDay: 0, tokensPerMinute: 0, tokensPerDay: 0 };
const KEY: ApiKey = { name: "ada", scopes: ["inference", "debug"], prefix: "sk-lan-ab", source: "file", expired: false, limits: { requestsPerMinute: 60 }, used: USED, models: ["qwen*"], expires: "2026-12-01T00:00:00.000Z" };

test("a new key says only what the form says", () => {
  const form = keyForm();
  expect(newKey({ ...form, name: " ada " })).toEqual({ name: "ada", scopes: ["inference"] });
  const all = { ...form, name: "ada", models: "qwen*, minilm", networks: "10.0.0.0/8", expiry: "30" as const, limits: { ...form.limits, tokensPerDay: 1000 } };
  expect(newKey(all)).toEqual({ name: "ada", scopes: ["inference"], models: ["qwen*", "minilm"], networks: ["10.0.0.0/8"], expiresInDays: 30, limits: { tokensPerDay: 1000 } });
  expect(newKey({ ...form, name: "ada", expiry: "date", date: "2026-12-31" })).toMatchObject({ expires: "2026-12-31" });
});

test("a change says all but an end that stays", () => {
  const form = keyForm(KEY);
  const limits = { requestsPerMinute: 60, requestsPerDay: null, tokensPerMinute: null, tokensPerDay: null };
  expect(change(form)).toEqual({ scopes: ["inference", "debug"], models: ["qwen*"], networks: null, limits });
  expect(change({ ...form, models: "", expiry: "" })).toMatchObject({ models: null, expires: null });
});

test("what is wrong is said by field", () => {
  const form = keyForm();
  expect(wrong({ ...form, name: "-x", scopes: [], limits: { ...form.limits, requestsPerDay: 0 } }, true)).toEqual({
    name: "Letters, digits, and . _ @ - in between, 64 at most.", scopes: "At least one.", requestsPerDay: "A whole number from 1.",
  }); // prettier-ignore
  expect(wrong(keyForm(KEY), false)).toEqual({});
});

test("when a key ends, and how much is used", () => {
  const now = Date.parse("2026-11-21T00:00:00Z");
  expect(ends(KEY, now)).toBe("in 10 d");
  expect(ends({ ...KEY, expires: "2026-11-21T05:00:00Z" }, now)).toBe("in 5 h");
  expect(ends({ ...KEY, expires: undefined }, now)).toBe("never");
  expect(ends({ ...KEY, expired: true }, now)).toBe("expired");
  expect(share(90, 60)).toBe(1);
  expect(lines("a, b\n\n c")).toEqual(["a", "b", "c"]);
});
