/** The cards of apps: which are shown, and what is filled into them. */
import type { ConnectApp, Lan } from "../../lib/types";

export type Kind = ConnectApp["kind"];

export const KINDS: Record<Kind, string> = {
  agent: "Coding agents",
  editor: "Editors",
  chat: "Chat and notes",
  home: "Home and automation",
  code: "Programs of your own",
  other: "Others",
};

const PLACEHOLDER = "{{key}}";
export const NO_KEY = "not-needed";

/** A step's text with the key in it; without one, with words that say what goes there. */
export function filled(text: string, key: string | undefined): string {
  return text.split(PLACEHOLDER).join(key || "YOUR-KEY"); // replaceAll would read $& in a key
}

export interface Group {
  kind: Kind;
  title: string;
  apps: ConnectApp[];
}

/** The apps that a text finds (each word of it somewhere), by kind. */
export function found(apps: readonly ConnectApp[], text: string): Group[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const match = (app: ConnectApp) => {
    const said = [app.name, app.id, app.about, app.dialect, KINDS[app.kind]].join(" ").toLowerCase();
    return words.every((word) => said.includes(word));
  };
  const kinds = Object.keys(KINDS) as Kind[];
  return kinds
    .map((kind) => ({ kind, title: KINDS[kind], apps: apps.filter((app) => app.kind === kind && match(app)) }))
    .filter((group) => group.apps.length);
}

const LOOPBACK = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/;

/** The addresses an app may use, the best first: as this page was opened from elsewhere, else the LAN's, else this machine's. */
export function addresses(origin: string, lan: Lan | undefined): string[] {
  const outside = lan?.open ? [...lan.urls, ...(lan.mdns ? [lan.mdns] : [])].map((url) => url.replace(/\/$/, "")) : [];
  const local = LOOPBACK.test(new URL(origin).hostname);
  return [...new Set(local ? [...outside, origin] : [origin, ...outside])];
}
