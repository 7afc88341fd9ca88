/** Which rows are shown: it stands in the address. */
import { type Entry, isRow } from "./rows";

export interface Filter {
  text: string;
  model: string;
  key: string;
  status: string;
  events: boolean;
}

export function filterOf(query: URLSearchParams): Filter {
  const said = (name: string) => query.get(name) ?? "";
  return { text: said("q"), model: said("model"), key: said("key"), status: said("status"), events: said("events") !== "off" };
}

export function queryOf(filter: Filter): Record<string, string | undefined> {
  return { q: filter.text, model: filter.model, key: filter.key, status: filter.status, events: filter.events ? undefined : "off" };
}

export function narrow(filter: Filter): boolean {
  return Boolean(filter.text || filter.model || filter.key || filter.status);
}

export function chosen(entries: readonly Entry[], filter: Filter): readonly Entry[] {
  if (!narrow(filter) && filter.events) return entries;
  const text = filter.text.trim().toLowerCase();
  return entries.filter((entry) => fits(entry, filter, text));
}

function fits(entry: Entry, filter: Filter, text: string): boolean {
  if (filter.model && entry.model !== filter.model) return false;
  if (!isRow(entry)) return filter.events && !filter.key && (!filter.status || (filter.status === "failed" && entry.bad)) && (!text || entry.text.toLowerCase().includes(text));
  if (filter.key && entry.key !== filter.key) return false;
  if (filter.status && entry.status !== filter.status) return false;
  return !text || [entry.requestId, entry.model, entry.instance, entry.key, entry.path, entry.error, entry.code, entry.userAgent, entry.address].some((each) => each?.toLowerCase().includes(text));
}
