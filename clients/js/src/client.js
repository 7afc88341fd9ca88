import { NoModelSelectedError, LMStudioError, ProtocolError, StreamError, errorIn, responseError } from './errors.js';
import { Exchange } from './exchange.js';
import { DONE, frameOf, linesOf } from './frames.js';

const SILENCE = 300_000;
const FAILED = 'LM Studio request failed';

/** Chats with LanHaven, LM Studio or any server that speaks OpenAI's API. The types are in index.d.ts. */
export class LMStudioClient {
  #apiKey; // private: a client that is logged must not show it
  #fetch;

  constructor(baseUrl = 'http://127.0.0.1:1234', { apiKey = null, timeout = SILENCE, fetch = null } = {}) {
    this.baseUrl = baseUrl;
    this.currentModel = null;
    this.timeout = timeout;
    this.#apiKey = apiKey;
    this.#fetch = fetch;
  }

  async fetchModels(options = {}) {
    const what = 'Failed to fetch models';
    const list = await this.#json('/v1/models', null, options, what);
    if (!Array.isArray(list.data)) throw new ProtocolError(`${what}: the answer has no list of models`);
    return list.data;
  }

  async setCurrentModel(modelId) {
    this.currentModel = modelId;
    return true;
  }

  async sendMessage(prompt, options = {}) {
    if (!this.currentModel) throw new NoModelSelectedError();
    const { conversationHistory = [], onToken = null, temperature = 0.7, maxTokens = 2048 } = options;
    const { stream = Boolean(onToken), signal, timeout } = options;
    const body = {
      model: this.currentModel,
      messages: [...conversationHistory, { role: 'user', content: prompt }],
      temperature: temperature ?? undefined,
      max_tokens: maxTokens ?? undefined,
      stream: Boolean(stream),
    };
    if (stream) return { content: await this.#collect(body, onToken, { signal, timeout }), streaming: true };
    const completion = await this.chat(body, { signal, timeout });
    return { content: completion.choices[0].message?.content ?? '', streaming: false };
  }

  async chat(body, options = {}) {
    const completion = await this.#json('/v1/chat/completions', this.#request(body, false), options, FAILED);
    if (!completion.choices?.length) throw new ProtocolError(`${FAILED}: the answer is no chat completion`);
    return completion;
  }

  async *streamChat(body, options = {}) {
    const exchange = this.#exchange('/v1/chat/completions', options);
    try {
      const response = await this.#opened(exchange, this.#request(body, true), FAILED);
      if (/^application\/json\b/i.test(response.headers.get('content-type') ?? '')) {
        yield asChunk(await this.#body(exchange, response, FAILED));
        return;
      }
      yield* chunksOf(exchange, response);
    } finally {
      exchange.close();
    }
  }

  async #collect(body, onToken, options) {
    let content = '';
    try {
      for await (const chunk of this.streamChat(body, options)) {
        const token = chunk.choices?.[0]?.delta?.content || '';
        if (!token) continue;
        content += token;
        onToken?.(token, content);
      }
    } catch (error) {
      if (error instanceof LMStudioError) error.content = content;
      throw error;
    }
    return content;
  }

  #request(body, stream) {
    const model = body.model ?? this.currentModel;
    if (!model) throw new NoModelSelectedError();
    return { ...body, model, stream };
  }

  async #json(path, body, options, what) {
    const exchange = this.#exchange(path, options);
    try {
      return await this.#body(exchange, await this.#opened(exchange, body, what), what);
    } finally {
      exchange.close();
    }
  }

  #exchange(path, { signal = null, timeout = this.timeout }) {
    const base = this.baseUrl.replace(/\/+$/, '').replace(/\/v1$/, '');
    return new Exchange(base + path, { signal, timeout });
  }

  /** An answer that is ok. */
  async #opened(exchange, body, what) {
    const key = this.#apiKey ? { Authorization: `Bearer ${this.#apiKey}` } : {};
    const init = body === null
      ? { headers: key }
      : { method: 'POST', headers: { 'Content-Type': 'application/json', ...key }, body: JSON.stringify(body) };
    const ask = this.#fetch ?? ((...request) => globalThis.fetch(...request));
    const response = await exchange.open(ask, init);
    if (!response.ok) throw responseError(what, response, await exchange.text(response));
    return response;
  }

  /** Its JSON. LM Studio answers some requests that it does not know with 200 and an error. */
  async #body(exchange, response, what) {
    const text = await exchange.text(response);
    let body;
    try {
      body = JSON.parse(text);
    } catch (error) {
      throw new ProtocolError(`${what}: the answer is no JSON`, error);
    }
    if (body === null || typeof body !== 'object') throw new ProtocolError(`${what}: the answer is no JSON object`);
    if (errorIn(body)) throw responseError(what, response, text);
    return body;
  }
}

/** The chunks of a stream. It is complete with `[DONE]` or a finish_reason; one that just ends was cut off. */
async function* chunksOf(exchange, response) {
  let complete = false;
  let done = false;
  for await (const line of linesOf(exchange.pieces(response))) {
    const frame = done ? null : frameOf(line);
    if (frame === null) continue;
    if (frame === DONE) {
      complete = done = true;
      exchange.complete();
      continue;
    }
    const error = errorIn(frame);
    if (error) throw new StreamError(`${FAILED}: ${error.detail}`, error);
    complete ||= Array.isArray(frame.choices) && frame.choices.some((choice) => choice?.finish_reason);
    yield frame;
  }
  if (!complete) throw new StreamError(`${FAILED}: the stream ended before the answer did`, { code: 'stream_cut' });
}

/** A whole completion, from a server that does not stream, as the one chunk of a stream. */
function asChunk(completion) {
  const choices = (completion.choices ?? []).map(({ message, ...choice }) => ({ ...choice, delta: message }));
  return { ...completion, object: 'chat.completion.chunk', choices };
}
