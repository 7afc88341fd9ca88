import { expect, test } from "vitest";
import type { ConnectApp, Lan } from "../../lib/types";
import { addresses, filled, found } from "./recipes";

const app = (id: string, kind: ConnectApp["kind"], about = ""): ConnectApp => ({ id, name: id, about, kind, dialect: "openai", needs: [], warnings: [], steps: [], probes: [] });
const lan: Lan = { open: true, urls: ["http://192.168.1.20:8002"], mdns: "http://lanhaven.local:8002", tls: false, howToOpen: "lanhaven up --lan" };

test("apps are found by every word, and stand by kind", () => {
  const apps = [app("aider", "agent", "pair programming"), app("zed", "editor"), app("claude", "agent", "Claude Code")];
  expect(found(apps, "").map((group) => [group.title, group.apps.length])).toEqual([["Coding agents", 2], ["Editors", 1]]);
  expect(found(apps, "CODE claude").flatMap((group) => group.apps.map((each) => each.id))).toEqual(["claude"]);
  expect(found(apps, "nothing")).toEqual([]);
});

test("the key is filled in wherever it goes, and its place is named as long as there is none", () => {
  expect(filled("a={{key}} b={{key}}", "sk-lan-$&")).toBe("a=sk-lan-$& b=sk-lan-$&");
  expect(filled("a={{key}}", undefined)).toBe("a=YOUR-KEY");
});

test("the address is one that the app's machine can reach", () => {
  expect(addresses("http://127.0.0.1:8002", lan)).toEqual([...lan.urls, lan.mdns, "http://127.0.0.1:8002"]);
  expect(addresses("http://192.168.1.20:8002", lan)).toEqual([...lan.urls, lan.mdns]);
  expect(addresses("http://box.lan", undefined)).toEqual(["http://box.lan"]);
  expect(addresses("http://localhost:8002", { ...lan, open: false })).toEqual(["http://localhost:8002"]);
});
