import { expect, test } from "vitest";
import { ServerTime } from "./servertime";

const HERE = Date.parse("2026-11-22T10:00:00Z");
const time = new ServerTime(() => HERE);

test("a reply's date tells how far the server's clock is off, and seconds are no difference", () => {
  expect(time.now()).toBe(HERE);
  time.heard("Sun, 22 Nov 2026 11:30:00 GMT");
  expect(time.now()).toBe(HERE + 90 * 60_000 + 500);
  time.heard(null);
  time.heard("soon");
  expect(time.now()).toBe(HERE + 90 * 60_000 + 500);
  time.heard("Sun, 22 Nov 2026 09:59:59 GMT");
  expect(time.now()).toBe(HERE);
});
