/** What ends a stream. */
export const DONE = Symbol('[DONE]');

/** The lines of a body. A character may be cut anywhere between pieces; the last line needs no end. */
export async function* linesOf(pieces) {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const piece of pieces) {
    const lines = (rest + decoder.decode(piece, { stream: true })).split('\n');
    rest = lines.pop();
    yield* lines;
  }
  rest += decoder.decode();
  if (rest) yield rest;
}

/**
 * What a line of a stream says: an object, DONE, or null for blank lines, comments and fields other than `data`. A bare
 * JSON line counts as data. What cannot be read is warned of and left out.
 */
export function frameOf(line) {
  const text = line.trim();
  if (!text || text.startsWith(':') || /^(event|id|retry)\b/.test(text)) return null;
  const data = text.replace(/^data:\s?/, '');
  if (data === '[DONE]') return DONE;
  try {
    const frame = JSON.parse(data);
    if (frame !== null && typeof frame === 'object') return frame;
    throw new SyntaxError(`not an object: ${data}`);
  } catch (error) {
    console.warn('Stream parse error:', error);
    return null;
  }
}
