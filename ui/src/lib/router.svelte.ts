/** Where we are: `#/activity/req_1?model=x` is { screen: "activity", rest: ["req_1"], query }. */

export interface Place {
  screen: string;
  rest: string[];
  query: URLSearchParams;
}

export const HOME = "playground";

export function parse(hash: string): Place {
  const [path = "", query = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  const [screen = "", ...rest] = path.split("/").map(decoded);
  return { screen: screen || HOME, rest: rest.filter(Boolean), query: new URLSearchParams(query) };
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** The link to a place: href("activity", ["req_1"], { model: "x" }). Members without a value are left out. */
export function href(screen: string, rest: string[] = [], query: Record<string, string | undefined> = {}): string {
  const said = Object.entries(query).filter((pair): pair is [string, string] => Boolean(pair[1]));
  const tail = said.length ? `?${new URLSearchParams(said)}` : "";
  return `#/${[screen, ...rest.map(encodeURIComponent)].join("/")}${tail}`;
}

class Router {
  place = $state.raw(parse(location.hash));

  constructor() {
    addEventListener("hashchange", () => (this.place = parse(location.hash)));
  }

  go(screen: string, rest?: string[], query?: Record<string, string | undefined>): void {
    location.hash = href(screen, rest, query);
  }

  /** As `go`, without a step in the browser's history: for filters. */
  replace(screen: string, rest?: string[], query?: Record<string, string | undefined>): void {
    history.replaceState(null, "", href(screen, rest, query));
    this.place = parse(location.hash);
  }
}

export const router = new Router();
