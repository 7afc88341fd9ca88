/** Markdown of models as safe HTML. Text of a model is never trusted: no HTML of its own, no images, links only to the web. */
import DOMPurify from "dompurify";
import { Marked, type Token } from "marked";

const ALLOWED = {
  ALLOWED_TAGS: ["p", "br", "hr", "h4", "h5", "h6", "ul", "ol", "li", "blockquote", "pre", "code", "em", "strong", "del", "a", "table", "thead", "tbody", "tr", "th", "td"], // prettier-ignore
  ALLOWED_ATTR: ["href", "title", "start", "align"],
  ALLOWED_URI_REGEXP: /^(?:https?:\/\/|mailto:)/i,
};

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (found) => `&#${found.charCodeAt(0)};`);
}

const marked = new Marked({
  gfm: true,
  breaks: true,
  renderer: {
    html: ({ text }) => escaped(text),
    image: ({ href, text }) => `<a href="${escaped(href)}">${escaped(text || href)}</a>`,
    checkbox: ({ checked }) => (checked ? "☑ " : "☐ "),
    heading({ depth, tokens }) {
      const level = Math.max(4, Math.min(depth + 2, 6)); // below the headings of the page
      return `<h${level}>${this.parser.parseInline(tokens)}</h${level}>`;
    },
  },
});

const purify = DOMPurify();
purify.addHook("afterSanitizeAttributes", (node) => {
  if (node.tagName !== "A") return;
  node.setAttribute("target", "_blank");
  node.setAttribute("rel", "noreferrer");
});

const made = new WeakMap<Token, string>();

/** The HTML of a block. */
export function html(block: Token): string {
  const known = made.get(block);
  if (known !== undefined) return known;
  const safe = purify.sanitize(marked.parser([block]), ALLOWED);
  made.set(block, safe);
  return safe;
}

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
