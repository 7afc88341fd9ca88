/** The request as a program: exactly what the page sends, for a shell, Python and JavaScript. */

export type Language = "curl" | "python" | "javascript";

const VARIABLE = "LANHAVEN_API_KEY";
const PATH = "/v1/chat/completions";
/** What OpenAI's package takes by name; all else goes into extra_body. */
const NAMED = new Set(["model", "messages", "temperature", "top_p", "max_tokens", "max_completion_tokens", "seed", "stop", "response_format", "tools", "tool_choice", "stream", "stream_options", "presence_penalty", "frequency_penalty", "n"]); // prettier-ignore

export function program(language: Language, origin: string, body: Record<string, unknown>, keyed: boolean): string {
  return { curl, python, javascript }[language](origin, body, keyed);
}

/** The same, short enough to be read: images are cut. */
export function readable(code: string): string {
  return code.replace(/(data:image\/[a-z+.-]+;base64,.{16})[A-Za-z0-9+/=]{32,}/g, "$1…");
}

/** A request to any path, for a shell. `body`: JSON text. */
export function shell(url: string, body: string, keyed: boolean, flags = ""): string {
  const key = keyed ? ` \\\n  -H "Authorization: Bearer $${VARIABLE}"` : "";
  return `curl ${flags}${quoted(url)} \\\n  -H 'Content-Type: application/json'${key} \\\n  -d ${quoted(body)}\n`;
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function curl(origin: string, body: Record<string, unknown>, keyed: boolean): string {
  return shell(origin + PATH, JSON.stringify(body, null, 2), keyed, "-N ");
}

function python(origin: string, body: Record<string, unknown>, keyed: boolean): string {
  const named = Object.entries(body).filter(([name]) => NAMED.has(name));
  const rest = Object.fromEntries(Object.entries(body).filter(([name]) => !NAMED.has(name)));
  const members = Object.keys(rest).length ? [...named, ["extra_body", rest] as const] : named;
  return [
    ...(keyed ? ["import os", ""] : []),
    "from openai import OpenAI",
    "",
    `client = OpenAI(base_url=${JSON.stringify(`${origin}/v1`)}, api_key=${keyed ? `os.environ["${VARIABLE}"]` : '"not-needed"'})`,
    "stream = client.chat.completions.create(",
    ...members.map(([name, value]) => `    ${name}=${literal(value, "    ")},`),
    ")",
    "for chunk in stream:",
    "    if chunk.choices:",
    '        print(chunk.choices[0].delta.content or "", end="", flush=True)',
    "",
  ].join("\n");
}

/** A JSON value as Python writes it. */
function literal(value: unknown, indent: string): string {
  const deeper = `${indent}    `;
  if (value === null || value === undefined) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value !== "object") return JSON.stringify(value);
  const items = Array.isArray(value)
    ? value.map((each) => literal(each, deeper))
    : Object.entries(value).map(([name, each]) => `${JSON.stringify(name)}: ${literal(each, deeper)}`);
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  const flat = `${open}${items.join(", ")}${close}`;
  if (flat.length <= 72 && !flat.includes("\n")) return flat;
  return `${open}\n${items.map((each) => `${deeper}${each},\n`).join("")}${indent}${close}`;
}

function javascript(origin: string, body: Record<string, unknown>, keyed: boolean): string {
  const key = keyed ? `, authorization: \`Bearer \${process.env.${VARIABLE}}\`` : "";
  return `const response = await fetch(${JSON.stringify(origin + PATH)}, {
  method: "POST",
  headers: { "content-type": "application/json"${key} },
  body: JSON.stringify(${JSON.stringify(body, null, 2).replaceAll("\n", "\n  ")}),
});
if (!response.ok) throw new Error(await response.text());
let rest = "";
for await (const piece of response.body.pipeThrough(new TextDecoderStream())) {
  const lines = (rest + piece).split("\\n");
  rest = lines.pop();
  for (const line of lines) {
    if (line.startsWith("data: {")) process.stdout.write(JSON.parse(line.slice(6)).choices[0]?.delta.content ?? "");
  }
}
`;
}
