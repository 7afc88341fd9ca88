'use strict';

const USUAL = {
  content: '', // the text, or the tokens of it
  delay: 0, // ms before anything comes
  interval: 0, // ms before each token of a stream
  finishReason: 'stop',
  status: null, // of an error reply
  error: null, // its text; with breakAt, the text of an error frame
  code: null, // of the error
  breakAt: null, // a stream breaks off after so many tokens; a whole answer does not come
};

/** A scripted answer with all its fields, and the tokens of its text. */
class Reply {
  constructor(fields) {
    Object.assign(this, USUAL, fields);
    this.tokens = Array.isArray(this.content) ? this.content : tokensOf(this.content);
  }
}

/** What a script gives, as a Reply; a function stays as it is. TypeError for what no answer has. */
function checkedReply(reply) {
  if (typeof reply === 'function' || reply instanceof Reply) return reply;
  const said = typeof reply === 'string' || Array.isArray(reply) ? { content: reply } : reply;
  if (said === null || typeof said !== 'object') throw new TypeError(`not an answer: ${String(reply)}`);
  const unknown = Object.keys(said).find((name) => !(name in USUAL));
  if (unknown) throw new TypeError(`an answer has no ${unknown}; it has ${Object.keys(USUAL).join(', ')}`);
  return new Reply(said);
}

/** Words with the spaces before them. */
function tokensOf(text) {
  return text.match(/\s*\S+|\s+$/g) ?? [];
}

/** What the user said last. */
function said({ messages }) {
  const last = messages.filter(({ role }) => role === 'user').at(-1)?.content ?? '';
  return typeof last === 'string' ? last : last.map((part) => part.text ?? '').join('');
}

module.exports = { checkedReply, said };
