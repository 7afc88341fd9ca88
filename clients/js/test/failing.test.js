// Aborting, waiting too long, refusals, and what the errors know.
import assert from 'node:assert/strict';
import test from 'node:test';

import {
  BusyError, ConnectionError, LMStudioClient, LMStudioError, NotFoundError, RequestTimeoutError, ResponseError,
  StreamError, UnauthorizedError,
} from 'lanhaven';
import { MockLMStudioServer } from 'lanhaven/mock-lmstudio-server';
import { delta, raw } from './raw.js';

const SLOW = { content: 'one two three four', interval: 60_000 };

async function served(t, options) {
  const server = new MockLMStudioServer(0, options);
  const client = new LMStudioClient(await server.start());
  t.after(() => server.stop());
  await client.setCurrentModel('mock-model');
  return { server, client };
}

function isAbort(error) {
  return error.name === 'AbortError' && !(error instanceof LMStudioError);
}

test('S2-12: abort in the stream; the server sees it', async (t) => {
  const { server, client } = await served(t);
  server.reply(async () => ({ content: ['a', 'b', 'c'], interval: 1 }));
  server.next({ content: ['', 'x'], interval: 5 }, SLOW);
  const controller = new AbortController();
  await client.sendMessage('x', { onToken: () => {}, signal: controller.signal });
  const came = server.request();
  const asked = client.sendMessage('x', { stream: true, signal: controller.signal });
  const seen = await came;
  controller.abort();
  await assert.rejects(asked, isAbort);
  assert.equal(await seen.ended, 'left');
});

test('S2-12: abort while the server still thinks', async (t) => {
  const { server, client } = await served(t);
  server.reply({ content: 'late', delay: 60_000 });
  for (const stream of [true, false]) {
    const controller = new AbortController();
    const came = server.request();
    const asked = client.sendMessage('x', { stream, signal: controller.signal });
    const seen = await came;
    controller.abort();
    await assert.rejects(asked, isAbort);
    assert.equal(await seen.ended, 'left');
  }
});

test('the reason of the signal is what comes', async (t) => {
  const { server, client } = await served(t);
  const reason = new Error('another question came');
  await assert.rejects(client.sendMessage('x', { signal: AbortSignal.abort(reason) }), reason);
  assert.equal(server.requests.length, 0);
  server.reply({ delay: 60_000 });
  await assert.rejects(client.sendMessage('x', { signal: AbortSignal.timeout(20) }), { name: 'TimeoutError' });
});

test('a signal is let go when the request is over', async (t) => {
  const { client } = await served(t);
  const { signal } = new AbortController();
  let listening = 0;
  t.mock.method(signal, 'addEventListener', () => { listening += 1; });
  t.mock.method(signal, 'removeEventListener', () => { listening -= 1; });
  await client.sendMessage('x', { signal });
  await client.sendMessage('x', { signal, stream: true });
  await client.fetchModels({ signal });
  assert.equal(listening, 0);
  assert.equal(signal.addEventListener.mock.callCount(), 3);
});

test('S2-21: leaving the loop of streamChat ends the request', async (t) => {
  const { server, client } = await served(t);
  server.reply({ content: Array(50).fill('word '), interval: 1 });
  for await (const chunk of client.streamChat({ messages: [{ role: 'user', content: 'x' }] })) {
    if (chunk.choices[0].delta.content) break;
  }
  assert.equal(await server.requests[0].ended, 'left');
});

for (const stream of [true, false]) {
  test(`S2-21: a silent server is left, ${stream ? 'streaming' : 'whole'}`, async (t) => {
    const { server, client } = await served(t);
    server.reply({ ...SLOW, delay: stream ? 0 : 60_000 });
    const asked = client.sendMessage('x', { stream, timeout: 1000 });
    await assert.rejects(asked, (error) => {
      assert(error instanceof RequestTimeoutError);
      assert.deepEqual([error.code, error.timeout], ['timeout', 1000]);
      assert.match(error.message, /for 1000 ms$/);
      return true;
    });
    assert.equal(await server.requests[0].ended, 'left');
  });
}

test('S2-21: a slow stream that goes on is not too late', async (t) => {
  const { server, client } = await served(t);
  server.reply({ content: Array(12).fill('w '), interval: 100 });
  assert.equal((await client.sendMessage('x', { stream: true, timeout: 900 })).content, 'w '.repeat(12));
});

test('a slow caller is not a silent server', async (t) => {
  const { server, client } = await served(t);
  server.reply('a b');
  const tokens = [];
  for await (const chunk of client.streamChat({ messages: [] }, { timeout: 500 })) {
    await new Promise((resolve) => { setTimeout(resolve, 250); });
    tokens.push(chunk.choices[0].delta.content ?? '');
  }
  assert.equal(tokens.join(''), 'a b');
});

for (const timeout of [0, Infinity, 2 ** 40]) {
  test(`a timeout of ${timeout} is none`, async (t) => {
    const { server, client } = await served(t);
    server.reply({ content: 'x', delay: 60 });
    assert.equal((await client.sendMessage('x', { timeout })).content, 'x');
  });
}

for (const timeout of [-1, NaN, 'soon']) {
  test(`a timeout of ${timeout} is a mistake`, async () => {
    await assert.rejects(new LMStudioClient('http://127.0.0.1:1', { timeout }).fetchModels(), RangeError);
  });
}

test('nobody there', async () => {
  const server = new MockLMStudioServer(0);
  const url = await server.start();
  await server.stop();
  await assert.rejects(new LMStudioClient(url).fetchModels(), (error) => {
    assert(error instanceof ConnectionError);
    assert.deepEqual([error.code, error.status], ['connection_failed', null]);
    assert.match(error.message, new RegExp(`^No answer from ${url}/v1/models: .*ECONNREFUSED`));
    return true;
  });
});

test('a connection that breaks in the stream', async (t) => {
  const { server, client } = await served(t);
  server.reply({ content: ['a', 'b'], interval: 5, breakAt: 1 });
  await assert.rejects(client.sendMessage('x', { stream: true }), (error) => {
    assert(error instanceof ConnectionError || error instanceof StreamError);
    assert('a'.startsWith(error.content)); // fetch drops what it has not handed out yet
    return true;
  });
});

test('S2-03: the words of a failed list', async (t) => {
  const { url } = await raw(t, (request, response) => response.writeHead(500).end());
  await assert.rejects(new LMStudioClient(url).fetchModels(), { message: 'Failed to fetch models: Internal Server Error' });
});

test('S2-09: the words of a failed chat, then the server\'s own', async (t) => {
  const { client } = await served(t);
  await client.setCurrentModel('nobody');
  for (const stream of [true, false]) {
    await assert.rejects(client.sendMessage('x', { stream }), (error) => {
      assert(error instanceof NotFoundError && error instanceof ResponseError && error instanceof LMStudioError);
      assert.equal(error.message, 'LM Studio request failed: Not Found - Model "nobody" does not exist');
      const { name, status, code, type, param } = error;
      assert.deepEqual([name, status, code, type, param],
        ['NotFoundError', 404, 'model_not_found', 'invalid_request_error', 'model']);
      return true;
    });
  }
});

test('S2-12: a wrong key', async (t) => {
  const { server } = await served(t, { apiKey: 'right' });
  await assert.rejects(new LMStudioClient(server.url, { apiKey: 'wrong' }).fetchModels(), (error) => {
    assert(error instanceof UnauthorizedError);
    assert.deepEqual([error.status, error.code], [401, 'invalid_api_key']);
    assert(!JSON.stringify([error.message, { ...error }]).includes('wrong'));
    return true;
  });
});

test('a busy server tells when to come back', async (t) => {
  const { url } = await raw(t, (request, response) => {
    response.writeHead(429, { 'Retry-After': '7', 'X-Request-Id': 'req-1' });
    response.end('{"error":"Too many requests wait","code":"queue_full"}');
  });
  const client = new LMStudioClient(url);
  await assert.rejects(client.fetchModels(), (error) => {
    assert(error instanceof BusyError);
    assert.deepEqual([error.retryAfter, error.requestId, error.code, error.detail],
      [7, 'req-1', 'queue_full', 'Too many requests wait']);
    return true;
  });
});

test('an error page that is no JSON', async (t) => {
  const { url } = await raw(t, (request, response) => response.writeHead(502).end('<h1>Bad</h1>'));
  await assert.rejects(new LMStudioClient(url).fetchModels(),
    { message: 'Failed to fetch models: Bad Gateway - <h1>Bad</h1>', status: 502, code: null });
});

test('200 with an error is an error', async (t) => {
  const { url } = await raw(t, (request, response) => {
    response.setHeader('Content-Type', 'application/json');
    response.end('{"error":"Unexpected endpoint or method."}');
  });
  const client = new LMStudioClient(url);
  await client.setCurrentModel('m');
  await assert.rejects(client.fetchModels(), { detail: 'Unexpected endpoint or method.' });
  for (const stream of [true, false]) {
    await assert.rejects(client.sendMessage('x', { stream }), { detail: 'Unexpected endpoint or method.' });
  }
});

test('a body that stops in the middle', async (t) => {
  const { url } = await raw(t, (request, response) => {
    response.writeHead(200, { 'Content-Length': 100 });
    response.write(delta('a'), () => response.destroy());
  });
  await assert.rejects(new LMStudioClient(url).fetchModels(), ConnectionError);
});
