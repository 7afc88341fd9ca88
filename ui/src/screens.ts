import type { Component } from "svelte";
import type { IconName } from "./lib/icons";

/** A screen: its name in the address, what it is called, what it needs, and where its code is (fetched when first shown). */
export interface Screen {
  name: string;
  title: string;
  icon: IconName;
  scope: "inference" | "admin" | "debug";
  load: () => Promise<{ default: Component }>;
}

export const screens: readonly Screen[] = [
  { name: "playground", title: "Playground", icon: "message-square", scope: "inference", load: () => import("./screens/playground/Playground.svelte") },
  { name: "models", title: "Models", icon: "boxes", scope: "admin", load: () => import("./screens/models/Models.svelte") },
  { name: "activity", title: "Activity", icon: "activity", scope: "debug", load: () => import("./screens/activity/Activity.svelte") },
  { name: "charts", title: "Charts", icon: "chart-line", scope: "debug", load: () => import("./screens/charts/Charts.svelte") },
  { name: "logs", title: "Logs", icon: "scroll-text", scope: "debug", load: () => import("./screens/logs/Logs.svelte") },
  { name: "keys", title: "Keys", icon: "key-round", scope: "admin", load: () => import("./screens/keys/Keys.svelte") },
  { name: "connect", title: "Connect", icon: "plug", scope: "admin", load: () => import("./screens/connect/Connect.svelte") },
];
