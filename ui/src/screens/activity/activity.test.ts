import { expect, test } from "vitest";
import { chosen, filterOf } from "./filter";
import { Ring } from "./ring";
import { type Entry, happening, type Row, told } from "./rows";

const time = (second: number) => `2026-11-21T10:00:${String(second).padStart(2, "0")}.000Z`;
const row = (n: number, more: Partial<Row> = {}): Row => ({ requestId: `r${n}`, timestamp: time(n), status: "completed", ...more });
const ids = (entries: readonly Entry[]) => entries.map((entry) => (entry as Row).requestId);

test("a ring keeps the newest, and changes in place", () => {
  const ring = new Ring(10);
  for (let n = 0; n < 37; n++) ring.put(row(n));
  ring.put(row(35, { model: "m" }));
  expect(ring.newest()).toHaveLength(10);
  expect(ids(ring.newest()).slice(0, 3)).toEqual(["r36", "r35", "r34"]);
  expect(ring.get("r35")).toMatchObject({ model: "m" });
  expect(ring.get("r1")).toBeUndefined();
});

test("the history comes in where it belongs; open rows that it does not know are forgotten", () => {
  const ring = new Ring(10);
  ring.put(row(5));
  ring.put(row(6, { status: "pending" }));
  ring.put(row(7, { status: "pending" }));
  ring.merge([row(6), row(5, { status: "pending" }), row(1)]);
  expect(ids(ring.newest())).toEqual(["r6", "r5", "r1"]);
  expect(ring.get("r5")).toMatchObject({ status: "completed" });
  ring.put(row(8, { status: "pending" }));
  ring.merge([row(0)], false);
  expect(ids(ring.newest())).toEqual(["r8", "r6", "r5", "r1", "r0"]);
});

test("a request by its events", () => {
  const start = { name: "inference_start", timestamp: time(1), requestId: "r1", path: "/v1/x", dialect: "openai", model: "first", client: "bob" };
  const open = told(start, undefined);
  expect(open).toMatchObject({ status: "pending", path: "/v1/x", model: "first", key: "bob" });
  const end = { name: "inference_complete", timestamp: time(3), requestId: "r1", modelKey: "alpha", instanceId: "alpha", totalTimeMs: 2000, firstTokenMs: 1000, tokenUsage: { promptTokens: 3, completionTokens: 51 } };
  expect(told(end, open)).toMatchObject({ status: "completed", timestamp: time(1), path: "/v1/x", model: "alpha", tokensPerSecond: 50, timeMs: 2000 });
  expect(told(end, undefined)).toMatchObject({ timestamp: time(1), completionTokens: 51 });
  const left = { name: "error", timestamp: time(3), requestId: "r1", cancelled: true, error: "left", code: "client_closed", totalTimeMs: 5 };
  expect(told(left, open)).toMatchObject({ status: "cancelled", code: "client_closed", model: "first" });
  expect(told({ name: "error", timestamp: time(1), operation: "model_load", error: "no" }, undefined)).toBeUndefined();
  expect(happening({ name: "error", timestamp: time(1), operation: "model_load", error: "no", modelKey: "m" }, 1)).toMatchObject({ bad: true, text: "no", model: "m" });
});

test("filters", () => {
  const entries: Entry[] = [row(1, { model: "a", key: "bob" }), row(2, { model: "b", status: "failed", error: "No room" }), { id: "event-1", timestamp: time(3), name: "model_load_start", model: "a", text: "a is being loaded", bad: false }];
  const by = (query: string) => chosen(entries, filterOf(new URLSearchParams(query))).length;
  expect([by(""), by("events=off"), by("model=a"), by("status=failed"), by("q=no+ROOM"), by("key=bob"), by("q=r1")]).toEqual([3, 2, 2, 1, 1, 1, 1]);
});
