/** Requests to the server: same origin, with the cookie. Errors are ApiErrors, in the server's own words. */

import { serverTime } from "./servertime";

export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly hint?: string,
    readonly code?: string,
    readonly body: unknown = undefined,
  ) {
    super(message);
  }
}

const lost = new Set<() => void>();

/** Called whenever the server says 401: the session is over. */
export function onSignedOut(listener: () => void): void {
  lost.add(listener);
}

export interface Options {
  signal?: AbortSignal;
  /** In place of the session: to try a key out. */
  key?: string;
  headers?: Record<string, string>;
}

export async function request(method: string, path: string, body?: unknown, options: Options = {}): Promise<Response> {
  const headers: Record<string, string> = { accept: "application/json", ...options.headers };
  if (body !== undefined) headers["content-type"] = "application/json";
  if (options.key) headers["x-api-key"] = options.key;
  let response: Response;
  try {
    response = await fetch(path, {
      method,
      headers,
      body: body === undefined ? null : JSON.stringify(body),
      signal: options.signal ?? null,
      credentials: options.key ? "omit" : "same-origin",
    });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(0, "The server does not answer.", "Is it running? lanhaven up");
  }
  serverTime.heard(response.headers.get("date"));
  if (response.ok) return response;
  if (response.status === 401 && !options.key) for (const listener of lost) listener();
  throw await failure(response);
}

/** The error of a reply, whichever dialect worded it. */
export async function failure(response: Response): Promise<ApiError> {
  const text = await response.text().catch(() => "");
  try {
    return worded(response.status, JSON.parse(text));
  } catch {
    return worded(response.status, text); // not JSON: a proxy's page, or nothing
  }
}

/** The error that this body tells, whichever dialect worded it; those without a member for the hint end with "Try: ...". */
export function worded(status: number, body: unknown): ApiError {
  const said = (typeof body === "object" && body !== null ? body : {}) as Record<string, unknown>;
  const inner = (typeof said.error === "object" && said.error !== null ? said.error : said) as Record<string, unknown>;
  const message = [inner.message, said.error, inner.error, said.message].find((each) => typeof each === "string");
  const details = Array.isArray(said.details) ? said.details.map(issue).join("; ") : "";
  const hint = [inner.hint, said.hint].find((each) => typeof each === "string");
  const [words = "", tried] = ((message as string | undefined) ?? `The server answered ${status}.`).split(/ Try: (.*)/s, 2);
  return new ApiError(
    status,
    [words, details].filter(Boolean).join(": "),
    (hint as string | undefined) ?? tried,
    (typeof inner.code === "string" ? inner.code : said.code) as string | undefined,
    body,
  );
}

function issue(detail: unknown): string {
  const { path, message } = detail as { path?: unknown[]; message?: string };
  return `${(path ?? []).join(".")} ${message ?? ""}`.trim();
}

async function json<T>(response: Promise<Response>): Promise<T> {
  const text = await (await response).text();
  return (text ? JSON.parse(text) : undefined) as T;
}

export const api = {
  get: <T>(path: string, options?: Options) => json<T>(request("GET", path, undefined, options)),
  post: <T>(path: string, body: unknown = {}, options?: Options) => json<T>(request("POST", path, body, options)),
  patch: <T>(path: string, body: unknown, options?: Options) => json<T>(request("PATCH", path, body, options)),
  delete: <T>(path: string, options?: Options) => json<T>(request("DELETE", path, undefined, options)),
};

/** A path with its query: at("/debug/x", { model: "a b" }). Members without a value are left out. */
export function at(path: string, query: Record<string, string | number | undefined>): string {
  const said = Object.entries(query).filter(([, value]) => value !== undefined && value !== "");
  return said.length ? `${path}?${new URLSearchParams(said.map(([name, value]) => [name, String(value)]))}` : path;
}

/** What to tell a person of anything that was thrown. */
export function told(error: unknown): { message: string; hint?: string } {
  if (error instanceof ApiError) return error.hint ? { message: error.message, hint: error.hint } : { message: error.message };
  return { message: error instanceof Error ? error.message : String(error) };
}
