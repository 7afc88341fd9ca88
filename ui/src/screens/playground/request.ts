/** A conversation as the messages of a request, and the other way round. */
import { fields, isObject, NONE, type Settings, settingsOf } from "./settings";

export interface Picture {
  name: string;
  url: string; // data:
}

export interface Call {
  id: string;
  name: string;
  arguments: string; // JSON, as the model wrote it
  result: string; // typed by the person
}

/** What a model said in one go; after calls comes another. */
export interface Said {
  text: string;
  reasoning: string;
  calls: Call[];
}

/** A question and, for each column, what was said. */
export interface Spoken {
  question: string;
  pictures: readonly Picture[];
  columns: readonly (readonly Said[])[];
}

export type Message = Record<string, unknown>;

/** The messages that lead to the next answer of this column. A question that got no answer is left out, but the last.
 *  `sees`: false leaves the images of earlier questions out, for a model that would refuse them all. */
export function messages(turns: readonly Spoken[], column: number, system: string, sees = true): Message[] {
  const all: Message[] = system.trim() ? [{ role: "system", content: system }] : [];
  turns.forEach((turn, index) => {
    const said = (turn.columns[Math.min(column, turn.columns.length - 1)] ?? []).filter((step) => step.text || step.calls.length);
    if (said.length || index === turns.length - 1) all.push(question(turn, sees || index === turns.length - 1), ...said.flatMap(answer));
  });
  return all;
}

function question(turn: Spoken, sees: boolean): Message {
  if (turn.pictures.length && !sees) return { role: "user", content: turn.question || "(an image)" };
  if (!turn.pictures.length) return { role: "user", content: turn.question };
  const images = turn.pictures.map(({ url }) => ({ type: "image_url", image_url: { url } }));
  return { role: "user", content: [...images, ...(turn.question ? [{ type: "text", text: turn.question }] : [])] };
}

function answer(step: Said): Message[] {
  if (!step.calls.length) return [{ role: "assistant", content: step.text }];
  const calls = step.calls.map((call) => ({ id: call.id, type: "function", function: { name: call.name, arguments: call.arguments } }));
  const results = step.calls.map((call) => ({ role: "tool", tool_call_id: call.id, content: call.result }));
  return [{ role: "assistant", content: step.text || null, tool_calls: calls }, ...results];
}

export function requestBody(model: string, said: Message[], settings: Settings): Record<string, unknown> {
  return { model, messages: said, ...fields(settings), stream: true, stream_options: { include_usage: true } };
}

/** What a request of somebody else becomes here: the turns before, and its last question, ready to be sent. */
export interface Replay {
  model: string | undefined;
  settings: Settings;
  turns: Spoken[];
  question: string;
  pictures: Picture[];
}

/** undefined: it is no chat. Understands OpenAI's chat, Anthropic's and Ollama's, as far as text, images and calls go. */
export function replayOf(body: unknown): Replay | undefined {
  if (!isObject(body)) return undefined;
  const listed = Array.isArray(body.messages) ? body.messages.filter(isObject) : [{ role: "user", content: body.prompt }];
  const system = [text(body.system), ...listed.filter((each) => each.role === "system" || each.role === "developer").map((each) => text(each.content))];
  const turns: { question: string; pictures: Picture[]; columns: Said[][] }[] = [];
  for (const message of listed) {
    const last = turns.at(-1);
    if (message.role === "user") turns.push({ question: text(message.content), pictures: pictures(message.content), columns: [[]] });
    else if (message.role === "assistant") last?.columns[0]?.push(saidBy(message));
    else if (message.role === "tool") result(last?.columns[0]?.at(-1), message);
  }
  const open = turns.at(-1)?.columns[0]?.length ? undefined : turns.pop();
  const settings = { ...settingsOf(body), system: system.filter(Boolean).join("\n\n") };
  return {
    model: typeof body.model === "string" ? body.model : undefined,
    settings: Object.values(settings).some(Boolean) ? settings : { ...NONE },
    turns: turns.filter((turn) => turn.columns[0]?.length),
    question: open?.question ?? "",
    pictures: open?.pictures ?? [],
  };
}

function saidBy(message: Message): Said {
  const calls = Array.isArray(message.tool_calls) ? message.tool_calls.filter(isObject) : [];
  return {
    text: text(message.content),
    reasoning: text(message.reasoning_content),
    calls: calls.map((call, index) => {
      const asked = isObject(call.function) ? call.function : {};
      const given = typeof asked.arguments === "string" ? asked.arguments : JSON.stringify(asked.arguments ?? {});
      return { id: typeof call.id === "string" ? call.id : `call_${index}`, name: text(asked.name), arguments: given, result: "" };
    }),
  };
}

function result(step: Said | undefined, message: Message): void {
  const call = step?.calls.find((each) => each.id === message.tool_call_id) ?? step?.calls.find((each) => !each.result);
  if (call) call.result = text(message.content);
}

function text(content: unknown): string {
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) return "";
  return content.map((part) => (isObject(part) && typeof part.text === "string" ? part.text : "")).filter(Boolean).join("\n");
}

function pictures(content: unknown): Picture[] {
  const parts = Array.isArray(content) ? content.filter(isObject) : [];
  const urls = parts.map((part) => (isObject(part.image_url) ? part.image_url.url : undefined));
  return urls.filter((url) => typeof url === "string" && url.startsWith("data:image/")).map((url, index) => ({ name: `image ${index + 1}`, url: url as string }));
}
