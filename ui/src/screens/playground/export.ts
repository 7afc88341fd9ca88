/** A conversation as a file: Markdown to be read, or the messages as JSON. */
import { messages, type Spoken } from "./request";

interface Told extends Spoken {
  columns: readonly (readonly (Spoken["columns"][number][number] & { model: string })[])[];
}

export function markdown(turns: readonly Told[], system: string): string {
  const parts = system.trim() ? [`> ${system.trim().replaceAll("\n", "\n> ")}`] : [];
  for (const turn of turns) {
    parts.push("## You", ...turn.pictures.map(({ name }) => `*(image: ${name})*`), turn.question);
    for (const steps of turn.columns) {
      parts.push(`## ${steps[0]?.model ?? ""}`);
      for (const step of steps) {
        parts.push(step.text, ...step.calls.flatMap((call) => [fenced(`${call.name}(${call.arguments})`), fenced(call.result)]));
      }
    }
  }
  return `${parts.filter(Boolean).join("\n\n")}\n`;
}

function fenced(text: string): string {
  return text && `\`\`\`\n${text}\n\`\`\``;
}

/** As it is sent, by column: what any program can go on with. */
export function json(turns: readonly Told[], system: string): string {
  const columns = Math.max(1, ...turns.map((turn) => turn.columns.length));
  const whole = Array.from({ length: columns }, (_, column) => ({ model: turns.at(-1)?.columns[column]?.[0]?.model ?? turns.at(-1)?.columns[0]?.[0]?.model, messages: messages(turns, column, system) }));
  return `${JSON.stringify(columns === 1 ? whole[0] : whole, null, 2)}\n`;
}
