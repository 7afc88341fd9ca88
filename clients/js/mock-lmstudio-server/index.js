'use strict';

const { once } = require('node:events');
const http = require('node:http');
const { checkedReply, said } = require('./reply.js');
const { corsHeaders } = require('./cors.js');

const LARGEST_BODY = 32 * 1024 * 1024;

/**
 * A server that speaks LM Studio's OpenAI API with scripted answers, for tests without a model. The types are in
 * index.d.ts.
 */
class MockLMStudioServer {
  #server = null;
  #replies = [];
  #waiting = [];
  #count = 0;

  constructor(port = 1235, { host = '127.0.0.1', models = ['mock-model'], apiKey = null, origins = ['*'] } = {}) {
    this.port = port;
    this.host = host;
    this.apiKey = apiKey;
    this.origins = origins;
    this.requests = [];
    this.setModels(models);
    this.reply((body) => said(body));
  }

  get url() {
    return `http://${this.host}:${this.port}`;
  }

  // Scripting

  /** What GET /v1/models lists: ids, or objects with an id. */
  setModels(models) {
    this.models = models.map((model) => (typeof model === 'string' ? { id: model } : { ...model }));
    return this;
  }

  /** The answer to every chat that nothing else was scripted for. At first: the last user message. */
  reply(reply) {
    this.usual = checkedReply(reply);
    return this;
  }

  /** The answers to the next chats, one each, in this order. */
  next(...replies) {
    this.#replies.push(...replies.map(checkedReply));
    return this;
  }

  /** Forget what was scripted and seen. */
  reset() {
    this.#replies = [];
    this.requests = [];
    return this.reply((body) => said(body));
  }

  /** The next request that comes, once it is there. */
  request() {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  // Running

  /** Listen; resolves to the address. Port 0 takes a free one, and `port` is that one from then on. */
  async start() {
    if (this.#server) throw new Error(`the mock server listens on ${this.url} already`);
    const server = http.createServer((request, response) => {
      this.#answer(request, response).catch((error) => defect(response, error));
    });
    this.#server = server;
    try {
      server.listen(this.port, this.host);
      await once(server, 'listening');
    } catch (error) {
      this.#server = null;
      throw error;
    }
    this.port = server.address().port;
    return this.url;
  }

  /** Stop at once, open streams too. */
  async stop() {
    const server = this.#server;
    if (!server) return;
    this.#server = null;
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await closed;
  }

  // Answering

  async #answer(request, response) {
    const seen = await received(request, response);
    this.requests.push(seen);
    for (const resolve of this.#waiting.splice(0)) resolve(seen);
    for (const [name, value] of corsHeaders(this.origins, request)) response.setHeader(name, value);
    if (request.method === 'OPTIONS') response.writeHead(204).end();
    else if (!this.#admits(seen)) fail(response, 401, 'Incorrect API key provided', 'invalid_api_key');
    else if (seen.method === 'GET' && seen.path === '/v1/models') this.#list(response);
    else if (seen.method === 'POST' && seen.path === '/v1/chat/completions') await this.#chat(seen, response);
    else fail(response, 404, `Unexpected endpoint or method. (${seen.method} ${seen.path})`, 'not_found');
  }

  #admits({ headers }) {
    return this.apiKey === null || headers.authorization === `Bearer ${this.apiKey}` ||
      headers['x-api-key'] === this.apiKey;
  }

  #list(response) {
    const data = this.models.map((model) => ({ object: 'model', owned_by: 'organization_owner', ...model }));
    send(response, 200, { data, object: 'list' });
  }

  async #chat({ body }, response) {
    if (!Array.isArray(body?.messages)) {
      return fail(response, 400, "'messages' must be an array", 'invalid_request_error', 'messages');
    }
    const model = body.model || this.models[0]?.id;
    if (!this.models.some(({ id }) => id === model)) {
      return fail(response, 404, `Model "${model}" does not exist`, 'model_not_found', 'model');
    }
    const reply = checkedReply(this.#replies.shift() ?? this.usual);
    const made = checkedReply(typeof reply === 'function' ? await reply(body) : reply);
    const head = { id: `chatcmpl-mock-${++this.#count}`, created: Math.floor(Date.now() / 1000), model };
    await pause(made.delay, response);
    if (response.destroyed) return undefined;
    if (made.status) return fail(response, made.status, made.error ?? `status ${made.status}`, made.code ?? null);
    return body.stream ? this.#stream(response, made, head, body) : whole(response, made, head, body);
  }

  async #stream(response, made, head, body) {
    const frame = (fields) => `data: ${JSON.stringify({ ...head, object: 'chat.completion.chunk', ...fields })}\n\n`;
    const choice = (delta, finish = null) => ({ choices: [{ index: 0, delta, logprobs: null, finish_reason: finish }] });
    response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' });
    response.write(frame(choice({ role: 'assistant' })));
    for (const [index, token] of made.tokens.entries()) {
      await pause(made.interval, response);
      if (response.destroyed) return undefined;
      if (index === made.breakAt) return broken(response, made);
      response.write(frame(choice({ content: token })));
    }
    if (made.breakAt !== null && made.breakAt >= made.tokens.length) return broken(response, made);
    response.write(frame(choice({}, made.finishReason)));
    if (body.stream_options?.include_usage) response.write(frame({ choices: [], usage: usage(made, body) }));
    return response.end('data: [DONE]\n\n');
  }
}

/** A request with its body, as JSON where it is JSON; `ended` resolves to how it went out. */
async function received(request, response) {
  const ended = new Promise((resolve) => {
    response.once('close', () => resolve(response.writableFinished ? 'finished' : 'left'));
  });
  let text = '';
  request.setEncoding('utf8');
  for await (const piece of request) {
    text += piece;
    if (text.length > LARGEST_BODY) throw new Error('the request is too large');
  }
  const { method, headers } = request;
  return { method, path: request.url.split('?')[0], headers, body: readJSON(text), ended };
}

function readJSON(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text === '' ? null : text;
  }
}

function whole(response, made, head, body) {
  if (made.breakAt !== null) return broken(response, made);
  const message = { role: 'assistant', content: made.tokens.join('') };
  return send(response, 200, {
    ...head,
    object: 'chat.completion',
    choices: [{ index: 0, message, logprobs: null, finish_reason: made.finishReason }],
    usage: usage(made, body),
  });
}

/** An error frame where there is an error to tell, else a connection that is gone. */
function broken(response, { error, code }) {
  if (error === null) return response.destroy();
  if (!response.headersSent) return fail(response, 500, error, code);
  return response.end(`data: ${JSON.stringify({ error: { message: error, type: 'server_error', code } })}\n\n`);
}

function usage(made, { messages }) {
  const words = messages.map(({ content }) => (typeof content === 'string' ? content.split(/\s+/).length : 1));
  const prompt = words.reduce((sum, count) => sum + count, 0);
  const completion = made.tokens.length;
  return { prompt_tokens: prompt, completion_tokens: completion, total_tokens: prompt + completion };
}

function send(response, status, body) {
  response.writeHead(status, { 'Content-Type': 'application/json; charset=utf-8' });
  response.end(JSON.stringify(body));
}

function fail(response, status, message, code, param = null) {
  const type = status < 500 ? 'invalid_request_error' : 'server_error';
  send(response, status, { error: { message, type, param, code } });
}

/** The script is wrong, or the client left while it sent. */
function defect(response, error) {
  if (response.headersSent || response.destroyed) response.destroy();
  else fail(response, 500, String(error), 'mock_failed');
}

/** So long, or until the client leaves. */
function pause(milliseconds, response) {
  if (!milliseconds || response.destroyed) return undefined;
  return new Promise((resolve) => {
    const over = () => {
      clearTimeout(timer);
      response.off('close', over);
      resolve();
    };
    const timer = setTimeout(over, milliseconds);
    response.once('close', over);
  });
}

module.exports = MockLMStudioServer;
module.exports.MockLMStudioServer = MockLMStudioServer;
