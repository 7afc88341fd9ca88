/** The fields of a key, as a form holds them and as the server wants them. Pure. */
import type { components } from "../../lib/schema";
import type { ApiKey, KeyLimits } from "../../lib/types";

type NewKey = components["schemas"]["NewKeyBody"];
type Change = components["schemas"]["ChangeKeyBody"];
export type Scope = ApiKey["scopes"][number];

export const SCOPES: readonly { name: Scope; about: string }[] = [
  { name: "inference", about: "chat, complete, embed: what apps need" },
  { name: "debug", about: "watch: activity, charts, logs" },
  { name: "admin", about: "load and unload models, change settings, make keys" },
];

export const LIMITS: readonly { name: keyof KeyLimits; text: string; unit: string }[] = [
  { name: "requestsPerMinute", text: "Requests a minute", unit: "requests/min" },
  { name: "requestsPerDay", text: "Requests a day", unit: "requests/day" },
  { name: "tokensPerMinute", text: "Tokens a minute", unit: "tokens/min" },
  { name: "tokensPerDay", text: "Tokens a day", unit: "tokens/day" },
];

/** Days; "" = never, "keep" = as it is, "date" = on the day of `date`. */
export type Expiry = "" | "keep" | "date" | "1" | "7" | "30" | "90" | "365";

export interface KeyForm {
  name: string;
  scopes: Scope[];
  models: string; // one a line
  networks: string;
  expiry: Expiry;
  date: string;
  limits: Record<keyof KeyLimits, number | null | undefined>;
}

export function keyForm(key?: ApiKey): KeyForm {
  return {
    name: key?.name ?? "",
    scopes: [...(key?.scopes ?? (["inference"] as Scope[]))],
    models: (key?.models ?? []).join("\n"),
    networks: (key?.networks ?? []).join("\n"),
    expiry: key?.expires ? "keep" : "",
    date: "",
    limits: { requestsPerMinute: null, requestsPerDay: null, tokensPerMinute: null, tokensPerDay: null, ...key?.limits },
  };
}

/** What is wrong, by field. */
export function wrong(form: KeyForm, fresh: boolean): Record<string, string> {
  const found: Record<string, string> = {};
  if (fresh && form.name && !/^[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}$/.test(form.name)) found.name = "Letters, digits, and . _ @ - in between, 64 at most.";
  if (!form.scopes.length) found.scopes = "At least one.";
  for (const { name } of LIMITS) {
    const limit = form.limits[name];
    if (typeof limit === "number" && (!Number.isInteger(limit) || limit < 1)) found[name] = "A whole number from 1.";
  }
  return found;
}

function terms(form: KeyForm): Change {
  const models = lines(form.models);
  const networks = lines(form.networks);
  const limits = Object.fromEntries(LIMITS.map(({ name }) => [name, form.limits[name] ?? null]));
  return { scopes: form.scopes, models: models.length ? models : null, networks: networks.length ? networks : null, limits, ...expires(form) };
}

function expires({ expiry, date }: KeyForm): Change {
  if (expiry === "keep") return {};
  if (expiry === "date") return date ? { expires: date } : {};
  return expiry === "" ? { expires: null } : { expiresInDays: Number(expiry) };
}

/** A new key: only what is said. */
export function newKey(form: KeyForm): NewKey {
  const { limits, ...rest } = terms(form);
  const said = Object.fromEntries(Object.entries(limits ?? {}).filter(([, value]) => value !== null));
  const body = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== null));
  return { name: form.name.trim(), ...body, ...(Object.keys(said).length ? { limits: said } : {}) };
}

/** What is to be otherwise: all of the form; null takes a bound away. */
export function change(form: KeyForm): Change {
  return terms(form);
}

/** "a, b\nc" -> ["a", "b", "c"]: names of models hold no commas that matter here less than a line. */
export function lines(text: string): string[] {
  return text.split(/[\n,]/).map((each) => each.trim()).filter(Boolean);
}

/** How much of a limit is used: 0 to 1. */
export function share(used: number, limit: number): number {
  return Math.min(1, used / limit);
}

/** When a key ends, for a table: "never", "in 3 d", "expired". */
export function ends(key: ApiKey, now: number): string {
  if (key.expired) return "expired";
  if (!key.expires) return "never";
  const hours = (Date.parse(key.expires) - now) / 3_600_000;
  return hours < 1 ? "within the hour" : hours < 48 ? `in ${Math.round(hours)} h` : `in ${Math.round(hours / 24)} d`;
}
