/** Thoughts that a model writes into its answer, between tags, where its server does not tell them apart. */

const OPEN = /^\s*<(think|thinking)>\n?/;

export interface Parted {
  text: string;
  reasoning: string;
}

/** What stands between the tags at the very beginning, and what comes after; a tag that is not closed yet is all thought. */
export function parted(whole: string): Parted {
  const open = OPEN.exec(whole);
  if (!open) return { text: whole, reasoning: "" };
  const inner = whole.slice(open[0].length);
  const close = `</${open[1]}>`;
  const end = inner.indexOf(close);
  if (end < 0) return { text: "", reasoning: inner };
  return { reasoning: inner.slice(0, end).trim(), text: inner.slice(end + close.length).trimStart() };
}
