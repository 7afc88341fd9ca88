import { expect, test } from "vitest";
import { csv } from "./download";

test("cells are quoted where they must be, and no text becomes a formula", () => {
  const rows = [["a,b", 1.5, null], ['say "x"', -2, undefined], ["=cmd()", 0, "line\nline"]];
  expect(csv(["name", "n", "rest"], rows)).toBe(
    'name,n,rest\r\n"a,b",1.5,\r\n"say ""x""",-2,\r\n\'=cmd(),0,"line\nline"\r\n',
  );
});
