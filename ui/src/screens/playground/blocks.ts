/** Markdown read as it comes: what was read once is not read again. What is made of it is not safe yet (markdown.ts). */
import { Marked, type Token } from "marked";

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (found) => `&#${found.charCodeAt(0)};`);
}

export const marked = new Marked({
  gfm: true,
  breaks: true,
  renderer: {
    html: ({ text }) => escaped(text),
    image: ({ href, text }) => `<a href="${escaped(href)}">${escaped(text || href)}</a>`,
    code: ({ text, lang }) => `<pre title="${escaped(lang ?? "")}"><code>${escaped(text)}\n</code></pre>`, // of a list; a block of its own is a CodeBlock
    checkbox: ({ checked }) => (checked ? "☑ " : "☐ "),
    heading({ depth, tokens }) {
      const level = Math.max(4, Math.min(depth + 2, 6)); // below the headings of the page
      return `<h${level}>${this.parser.parseInline(tokens)}</h${level}>`;
    },
  },
});

/** Formulas (TeX) stay as they are written: read as Markdown they would lose backslashes, stars and underscores. */
const INLINE = /^(?:\\\([^\n]+?\\\)|\\\[[^\n]+?\\\]|\$\$[^$\n]+\$\$|\$(?=\S)[^$\n]*?[\\^_*{][^$\n]*?(?<=\S)\$(?![\w$]))/;
const BLOCK = /^ {0,3}(?:\$\$((?:(?!\n\s*\n)[^$])+)\$\$|\\\[((?:(?!\n\s*\n)[\s\S])+?)\\\])[ \t]*(?:\n|$)/;

marked.use({
  extensions: [
    {
      name: "formula",
      level: "inline",
      start: (text) => text.match(/\\[([]|\$/)?.index,
      tokenizer(text) {
        const raw = INLINE.exec(text)?.[0];
        return raw === undefined ? undefined : { type: "codespan", raw, text: raw };
      },
    },
    {
      name: "formulas",
      level: "block",
      start: (text) => text.match(/^ {0,3}(?:\$\$|\\\[)/m)?.index,
      tokenizer(text) {
        const found = BLOCK.exec(text);
        return found ? { type: "code", raw: found[0], lang: "tex", text: (found[1] ?? found[2] ?? "").replace(/^\s*\n|\s+$/g, "") } : undefined;
      },
    },
  ],
});

/** A text that grows, as blocks: those that can change no more are read once. */
export class Blocks {
  private done: Token[] = [];
  private at = 0;

  of(text: string): Token[] {
    const whole = text.replace(/\r\n?/g, "\n");
    if (whole.length < this.at) this.begin();
    const tail = marked.lexer(whole.slice(this.at));
    const last = tail.findLastIndex((token) => token.type !== "space");
    const settled = tail.slice(0, Math.max(0, last));
    this.done.push(...settled.filter((token) => token.type !== "space"));
    this.at += settled.reduce((sum, token) => sum + token.raw.length, 0);
    return [...this.done, ...tail.slice(Math.max(0, last)).filter((token) => token.type !== "space")];
  }

  private begin(): void {
    this.done = [];
    this.at = 0;
  }
}
