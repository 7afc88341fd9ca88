/** Markdown of models as safe HTML. Text of a model is never trusted: no HTML of its own, no images, links only to the web. */
import DOMPurify from "dompurify";
import type { Token } from "marked";
import { marked } from "./blocks";

const ALLOWED = {
  ALLOWED_TAGS: ["p", "br", "hr", "h4", "h5", "h6", "ul", "ol", "li", "blockquote", "pre", "code", "em", "strong", "del", "a", "table", "thead", "tbody", "tr", "th", "td"], // prettier-ignore
  ALLOWED_ATTR: ["href", "title", "start", "align"],
  ADD_URI_SAFE_ATTR: ["start", "align"], // no addresses
  ALLOWED_URI_REGEXP: /^(?:https?:\/\/|mailto:)/i,
};

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
