import { expect, test } from "vitest";
import { at, worded } from "./api";

test("an error is told in the server's words, with its hint, in every dialect", () => {
  const native = worded(404, { error: "No such key.", code: "not_found", hint: "lanhaven keys list" });
  expect(native).toMatchObject({ status: 404, message: "No such key.", hint: "lanhaven keys list", code: "not_found" });
  const openai = worded(400, { error: { message: "alpha cannot see. Try: These can: seer", code: "invalid_request" } });
  expect(openai).toMatchObject({ message: "alpha cannot see.", hint: "These can: seer", code: "invalid_request" });
  const details = worded(422, { error: "Wrong", details: [{ path: ["a", 1], message: "is no number" }] });
  expect(details.message).toBe("Wrong: a.1 is no number");
  expect(worded(502, "<html>").message).toBe("The server answered 502.");
});

test("members of a query without a value are left out", () => {
  expect(at("/x", { a: "b c", d: undefined, e: "", f: 0 })).toBe("/x?a=b+c&f=0");
});
