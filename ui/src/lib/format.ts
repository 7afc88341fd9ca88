/** Numbers and times as people read them. */

const UNITS = ["B", "kB", "MB", "GB", "TB"];

/** 98362432 -> "98.4 MB": decimal units, as disks and models are sold. */
export function bytes(value: number | undefined | null): string {
  if (value === undefined || value === null || !Number.isFinite(value)) return "–";
  let rest = value;
  let unit = 0;
  while (Math.abs(rest) >= 999.5 && unit < UNITS.length - 1) {
    rest /= 1000;
    unit += 1;
  }
  return `${unit && Math.abs(rest) < 99.95 ? rest.toFixed(1) : Math.round(rest)} ${UNITS[unit]}`;
}

/** 0.4 -> "<1 ms", 240 -> "240 ms", 1530 -> "1.5 s", 95000 -> "1 min 35 s". */
export function ms(value: number | undefined | null): string {
  if (value === undefined || value === null || !Number.isFinite(value)) return "–";
  if (value < 1) return value > 0 ? "<1 ms" : "0 ms";
  if (value < 999.5) return `${Math.round(value)} ms`;
  if (value < 59_950) return `${(value / 1000).toFixed(value < 9_950 ? 1 : 0)} s`;
  const seconds = Math.round(value / 1000);
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min${seconds % 60 ? ` ${seconds % 60} s` : ""}`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 48 * 60) return `${Math.floor(minutes / 60)} h${minutes % 60 ? ` ${minutes % 60} min` : ""}`;
  return `${Math.round(minutes / 1440)} d`;
}

const whole = new Intl.NumberFormat("en");

/** 32768 -> "32,768". */
export function count(value: number | undefined | null): string {
  return value === undefined || value === null || !Number.isFinite(value) ? "–" : whole.format(value);
}

/** 118.04 -> "118", 4.217 -> "4.2". */
export function rate(value: number | undefined | null): string {
  if (value === undefined || value === null || !Number.isFinite(value)) return "–";
  return value >= 100 ? whole.format(Math.round(value)) : value.toFixed(1);
}

/** How long ago a time was: "now", "5 s ago", "3 min ago", "2 h ago", "4 d ago". */
export function ago(time: string | undefined, now: number): string {
  if (!time) return "never";
  const seconds = Math.max(0, Math.round((now - Date.parse(time)) / 1000));
  if (seconds < 2) return "now";
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 48 * 3600) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86400)} d ago`;
}

/** The time of day: "14:03:07". */
export function clock(time: string): string {
  return new Date(time).toLocaleTimeString("en-GB");
}

/** "1 model", "2 models". */
export function some(value: number, one: string, many = `${one}s`): string {
  return `${whole.format(value)} ${value === 1 ? one : many}`;
}

const BROWSERS: readonly [RegExp, string][] = [[/\bEdg/, "Edge"], [/\bOPR\//, "Opera"], [/\bFirefox\/|\bFxiOS\//, "Firefox"], [/\bChrome\/|\bCriOS\/|HeadlessChrome/, "Chrome"], [/\bSafari\//, "Safari"]]; // prettier-ignore
const SYSTEMS: readonly [RegExp, string][] = [[/iPhone|iPad/, "iOS"], [/Android/, "Android"], [/Windows/, "Windows"], [/Macintosh/, "macOS"], [/CrOS/, "ChromeOS"], [/Linux/, "Linux"]]; // prettier-ignore

/** The program of a User-Agent: "Zed/0.212" as it is, a browser's story as "Firefox on Linux". */
export function program(agent: string): string {
  if (!agent.startsWith("Mozilla/")) return agent;
  const named = (known: readonly [RegExp, string][]) => known.find(([sign]) => sign.test(agent))?.[1];
  const [browser, system] = [named(BROWSERS), named(SYSTEMS)];
  return browser ? `${browser}${system ? ` on ${system}` : ""}` : agent;
}
