// MockLMStudioServer itself, asked without our client where that shows more.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { execFileSync } from 'node:child_process';
import net from 'node:net';
import test from 'node:test';
import { fileURLToPath } from 'node:url';

import Default, { MockLMStudioServer } from 'lanhaven/mock-lmstudio-server';
import { LMStudioClient } from 'lanhaven';

async function served(t, options) {
  const server = new MockLMStudioServer(0, options);
  await server.start();
  t.after(() => server.stop());
  return server;
}

function ask(server, body, headers = {}) {
  return fetch(`${server.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', ...headers },
    body: JSON.stringify({ messages: [{ role: 'user', content: 'Hello' }], ...body }),
  });
}

test('S2-25: both ways of importing give the same class', () => {
  assert.equal(Default, MockLMStudioServer);
  assert.equal(new MockLMStudioServer().port, 1235);
  const program = "const M = require('lanhaven/mock-lmstudio-server'); process.stdout.write(String(new M(7).port))";
  const cwd = fileURLToPath(new URL('..', import.meta.url));
  assert.equal(execFileSync(process.execPath, ['-e', program], { cwd, encoding: 'utf8' }), '7');
});

test('S2-25: start and stop, again and again', async () => {
  const server = new MockLMStudioServer(0);
  const url = await server.start();
  assert.equal(url, server.url);
  await assert.rejects(server.start(), /already/);
  await server.stop();
  await server.stop();
  assert.equal(await server.start(), url);
  await server.stop();
});

test('S2-25: a port that is taken is an error that says so', async (t) => {
  const server = await served(t);
  const second = new MockLMStudioServer(server.port);
  await assert.rejects(second.start(), { code: 'EADDRINUSE' });
  await second.stop();
});

test('S2-25: stop ends open streams', async (t) => {
  const server = await served(t);
  server.reply({ content: 'a b', interval: 60_000 });
  const response = await ask(server, { stream: true });
  await server.stop();
  await assert.rejects(response.text());
  assert.equal(await server.requests[0].ended, 'left');
});

test('S2-04 S2-18 S2-25: the list of models', async (t) => {
  const server = await served(t, { models: ['deepseek-coder-6.7b-instruct'] });
  const list = await (await fetch(`${server.url}/v1/models?x=1`)).json();
  assert.equal(list.object, 'list');
  assert.deepEqual(list.data.map(({ id, object }) => [id, object]), [['deepseek-coder-6.7b-instruct', 'model']]);
});

test('S2-25: a whole chat', async (t) => {
  const server = await served(t);
  const body = await (await ask(server, { model: 'mock-model' })).json();
  assert.deepEqual(body.choices, [{
    index: 0, message: { role: 'assistant', content: 'Hello' }, logprobs: null, finish_reason: 'stop',
  }]);
  assert.deepEqual([body.object, body.model], ['chat.completion', 'mock-model']);
  assert.deepEqual(body.usage, { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 });
});

test('S2-25: a stream', async (t) => {
  const server = await served(t);
  const response = await ask(server, { stream: true });
  assert.equal(response.headers.get('content-type'), 'text/event-stream');
  const frames = (await response.text()).split('\n\n').filter(Boolean);
  assert.equal(frames.at(-1), 'data: [DONE]');
  const chunks = frames.slice(0, -1).map((frame) => JSON.parse(frame.slice(6)));
  assert.deepEqual(chunks.map(({ choices: [{ delta, finish_reason: finish }] }) => [delta, finish]),
    [[{ role: 'assistant' }, null], [{ content: 'Hello' }, null], [{}, 'stop']]);
  assert.equal(new Set(chunks.map(({ id }) => id)).size, 1);
});

test('S2-25: answers in order, then the usual one', async (t) => {
  const server = await served(t);
  const client = new LMStudioClient(server.url);
  await client.setCurrentModel('mock-model');
  server.reply('usual').next('first', { status: 503, error: 'busy', code: 'queue_full' }, (body) => body.model);
  assert.equal((await client.sendMessage('x')).content, 'first');
  await assert.rejects(client.sendMessage('x'), { status: 503, code: 'queue_full', detail: 'busy' });
  assert.equal((await client.sendMessage('x')).content, 'mock-model');
  assert.equal((await client.sendMessage('x', { stream: true })).content, 'usual');
  assert.equal(server.reset().requests.length, 0);
  assert.equal((await client.sendMessage('say this')).content, 'say this');
});

test('S2-25: an error in the stream, and a script that is wrong', async (t) => {
  const server = await served(t);
  server.next({ content: 'a b c', breakAt: 2, error: 'out of memory', code: 'engine_crashed' });
  const text = await (await ask(server, { stream: true })).text();
  assert.match(text, /"content":" b".*\n\ndata: {"error":{"message":"out of memory"[^\n]*"code":"engine_crashed"}}\n\n$/s);
  server.next({ content: 'a', breakAt: 0, error: 'no' }, () => ({ txt: 'x' }), () => { throw new Error('mine'); });
  assert.equal((await ask(server, {})).status, 500);
  for (const what of [/an answer has no txt/, /mine/]) {
    const { error } = await (await ask(server, {})).json();
    assert.match(error.message, what);
  }
  assert.throws(() => server.reply({ text: 'x' }), TypeError);
  assert.throws(() => server.next(null), TypeError);
});

test('S2-25: an answer without words', async (t) => {
  const server = await served(t);
  for (const stream of [true, false]) {
    const response = await ask(server, { messages: [], stream });
    assert.equal(response.status, 200);
    assert.match(await response.text(), /"finish_reason":"stop"/);
  }
});

test('S2-25: what it does not know it refuses', async (t) => {
  const server = await served(t);
  assert.equal((await ask(server, { model: 'nobody' })).status, 404);
  assert.equal((await ask(server, { messages: 'x' })).status, 400);
  assert.equal((await fetch(`${server.url}/v1/embeddings`, { method: 'POST', body: 'no JSON' })).status, 404);
  assert.equal((await fetch(`${server.url}/v1/models`, { method: 'POST' })).status, 404);
});

test('S2-15 C10: any page, without credentials', async (t) => {
  const server = await served(t);
  const { headers } = await fetch(`${server.url}/v1/models`, { headers: { Origin: 'http://page.example' } });
  assert.equal(headers.get('access-control-allow-origin'), '*');
  assert.equal(headers.get('access-control-allow-credentials'), null);
});

test('S2-15 S2-16 C10: the question beforehand is answered without a key', async (t) => {
  const server = await served(t, { apiKey: 'k' });
  const response = await fetch(`${server.url}/anywhere`, {
    method: 'OPTIONS', headers: { Origin: 'http://page.example', 'Access-Control-Request-Method': 'POST' },
  });
  assert.equal(response.status, 204);
  assert.equal(response.headers.get('access-control-allow-methods'), 'GET, POST, OPTIONS');
  for (const name of ['Content-Type', 'Accept', 'Authorization']) {
    assert(response.headers.get('access-control-allow-headers').includes(name));
  }
});

test('S2-24 C10: listed pages only, with their credentials', async (t) => {
  const server = await served(t, { origins: ['http://page.example'] });
  const from = async (origin) => (await ask(server, {}, { Origin: origin })).headers;
  const own = await from('http://page.example');
  assert.equal(own.get('access-control-allow-origin'), 'http://page.example');
  assert.equal(own.get('access-control-allow-credentials'), 'true');
  const foreign = await from('http://evil.example');
  assert.equal(foreign.get('access-control-allow-origin'), null);
  assert.deepEqual([own.get('vary'), foreign.get('vary')], ['Origin', 'Origin']);
});

test('S2-16: OPTIONS *', async (t) => {
  const server = await served(t);
  const socket = net.connect(server.port, '127.0.0.1');
  socket.end('OPTIONS * HTTP/1.1\r\nHost: x\r\nOrigin: http://page.example\r\nConnection: close\r\n\r\n');
  const [bytes] = await once(socket, 'data');
  assert.match(bytes.toString(), /^HTTP\/1.1 204 /);
  socket.destroy();
});
