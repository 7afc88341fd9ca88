// The class of the document: constructor, state, methods, what goes over the wire, what comes back.
import assert from 'node:assert/strict';
import { inspect } from 'node:util';
import test from 'node:test';

import { LMStudioClient, NoModelSelectedError, ProtocolError } from 'lanhaven';
import { MockLMStudioServer } from 'lanhaven/mock-lmstudio-server';
import { raw, streaming, delta } from './raw.js';

async function served(t, options) {
  const server = new MockLMStudioServer(0, options);
  const url = await server.start();
  t.after(() => server.stop());
  const client = new LMStudioClient(url);
  await client.setCurrentModel(server.models[0].id);
  return { server, client };
}

test('S2-01 S2-02 S2-17: the constructor and its state', () => {
  const client = new LMStudioClient();
  assert.equal(client.baseUrl, 'http://127.0.0.1:1234');
  assert.equal(client.currentModel, null);
  assert.equal(new LMStudioClient('http://den.lan:8002').baseUrl, 'http://den.lan:8002');
});

test('S2-03 S2-04: fetchModels gives the data of the list', async (t) => {
  const { server, client } = await served(t, { models: ['one', { id: 'two', state: 'loaded' }] });
  const models = await client.fetchModels();
  assert.deepEqual(models.map(({ id }) => id), ['one', 'two']);
  assert.equal(models[1].state, 'loaded');
  assert.deepEqual([server.requests[0].method, server.requests[0].path], ['GET', '/v1/models']);
});

test('S2-05: setCurrentModel stores and gives true', async () => {
  const client = new LMStudioClient();
  assert.equal(await client.setCurrentModel('qwen2.5-coder'), true);
  assert.equal(client.currentModel, 'qwen2.5-coder');
});

test('S2-06: without a model nothing is sent', async () => {
  const client = new LMStudioClient();
  for (const ask of [() => client.sendMessage('x'), () => client.chat({ messages: [] })]) {
    await assert.rejects(ask, (error) => {
      assert(error instanceof NoModelSelectedError);
      assert.equal(error.message, 'No LM Studio model selected');
      assert.equal(error.code, 'no_model_selected');
      return true;
    });
  }
});

test('S2-07 S2-08 C23: the request is the document\'s, with its defaults and no more', async (t) => {
  const { server, client } = await served(t);
  await client.sendMessage('Hello');
  const [{ method, path, headers, body }] = server.requests;
  assert.deepEqual([method, path], ['POST', '/v1/chat/completions']);
  assert.deepEqual(body, {
    model: 'mock-model',
    messages: [{ role: 'user', content: 'Hello' }],
    temperature: 0.7,
    max_tokens: 2048,
    stream: false,
  });
  assert.equal(headers['content-type'], 'application/json');
  assert.equal(headers.authorization, undefined);
  assert.equal(headers['x-api-key'], undefined);
});

test('S2-07 S2-19: history, temperature, maxTokens and stream', async (t) => {
  const { server, client } = await served(t);
  const conversationHistory = [{ role: 'user', content: 'Hello' }, { role: 'assistant', content: 'Hi there' }];
  const frozen = Object.freeze([...conversationHistory]);
  await client.sendMessage('How are you?', {
    conversationHistory: frozen, temperature: 0, maxTokens: 5, onToken: () => {},
  });
  const { body } = server.requests[0];
  assert.deepEqual(body.messages, [...conversationHistory, { role: 'user', content: 'How are you?' }]);
  assert.deepEqual([body.temperature, body.max_tokens, body.stream], [0, 5, true]);
});

test('C23: null leaves temperature and maxTokens to the server', async (t) => {
  const { server, client } = await served(t);
  await client.sendMessage('x', { temperature: null, maxTokens: null });
  assert.deepEqual(Object.keys(server.requests[0].body).sort(), ['messages', 'model', 'stream']);
});

test('S2-12 S2-13: tokens come with all that has come, and the result is their sum', async (t) => {
  const { server, client } = await served(t);
  server.reply('Once upon a time');
  const seen = [];
  const result = await client.sendMessage('x', { onToken: (...words) => seen.push(words) });
  assert.deepEqual(result, { content: 'Once upon a time', streaming: true });
  assert.deepEqual(seen, [['Once', 'Once'], [' upon', 'Once upon'], [' a', 'Once upon a'],
    [' time', 'Once upon a time']]);
});

test('S2-14: a whole answer', async (t) => {
  const { server, client } = await served(t);
  server.reply('Fine.');
  assert.deepEqual(await client.sendMessage('x'), { content: 'Fine.', streaming: false });
  assert.deepEqual(await client.sendMessage('x', { stream: false, onToken: assert.fail }),
    { content: 'Fine.', streaming: false });
});

test('S2-12: a stream needs no onToken', async (t) => {
  const { server, client } = await served(t);
  server.reply('a b c');
  t.mock.method(console, 'warn', assert.fail);
  assert.deepEqual(await client.sendMessage('x', { stream: true }), { content: 'a b c', streaming: true });
});

test('S2-12: the key goes out as Bearer and is never shown', async (t) => {
  const { server } = await served(t, { apiKey: 'sk-lan-secret' });
  const client = new LMStudioClient(server.url, { apiKey: 'sk-lan-secret' });
  await client.fetchModels();
  assert.equal(server.requests[0].headers.authorization, 'Bearer sk-lan-secret');
  assert(!inspect(client, { showHidden: true, depth: 9 }).includes('secret'));
  assert(!JSON.stringify(client).includes('secret'));
});

for (const end of ['/', '/v1', '/v1/', '']) {
  test(`the base URL may end with "${end}"`, async (t) => {
    const { server, client } = await served(t);
    client.baseUrl = server.url + end;
    await client.fetchModels();
    assert.equal(server.requests[0].path, '/v1/models');
  });
}

test('chat gives all that the API has', async (t) => {
  const { server, client } = await served(t);
  const whole = await client.chat({ messages: [{ role: 'user', content: 'a b' }], tools: [], stream: true });
  assert.equal(whole.choices[0].finish_reason, 'stop');
  assert.equal(whole.usage.total_tokens, 4);
  assert.deepEqual([server.requests[0].body.stream, server.requests[0].body.tools], [false, []]);
});

test('streamChat gives every chunk, the one with the usage too', async (t) => {
  const { client } = await served(t);
  const chunks = [];
  const ask = { messages: [{ role: 'user', content: 'a b' }], stream_options: { include_usage: true } };
  for await (const chunk of client.streamChat(ask)) chunks.push(chunk);
  assert.equal(chunks.at(-1).usage.completion_tokens, 2);
  assert.equal(chunks.at(-2).choices[0].finish_reason, 'stop');
});

test('streamChat of another model than the current one', async (t) => {
  const { server, client } = await served(t, { models: ['one', 'two'] });
  const { done } = await client.streamChat({ model: 'two', messages: [] }).next();
  assert.equal(done, false);
  assert.equal(server.requests[0].body.model, 'two');
});

test('a message without text is empty, not null', async (t) => {
  const body = { choices: [{ message: { role: 'assistant', content: null, tool_calls: [] } }] };
  const { url } = await raw(t, (request, response) => response.end(JSON.stringify(body)));
  const client = new LMStudioClient(url);
  await client.setCurrentModel('m');
  assert.deepEqual(await client.sendMessage('x'), { content: '', streaming: false });
});

test('a server that does not stream is taken as it is', async (t) => {
  const body = { choices: [{ index: 0, message: { content: 'all at once' }, finish_reason: 'stop' }] };
  const { url } = await raw(t, (request, response) => {
    response.setHeader('Content-Type', 'application/json');
    response.end(JSON.stringify(body, null, 2));
  });
  const client = new LMStudioClient(url);
  await client.setCurrentModel('m');
  assert.equal((await client.sendMessage('x', { stream: true })).content, 'all at once');
});

for (const [what, text] of [['no JSON', '<html>'], ['another JSON', '[]'], ['no choices', '{}'], ['null', 'null']]) {
  test(`an answer that is none: ${what}`, async (t) => {
    const { url } = await raw(t, (request, response) => response.end(text));
    const client = new LMStudioClient(url);
    await client.setCurrentModel('m');
    await assert.rejects(client.sendMessage('x'), ProtocolError);
    await assert.rejects(client.fetchModels(), ProtocolError);
  });
}

test('a fetch of one\'s own', async (t) => {
  const { url } = await raw(t, streaming(delta('x', 'stop')));
  const asked = [];
  const client = new LMStudioClient(url, { fetch: (...words) => (asked.push(words[0]), fetch(...words)) });
  await client.setCurrentModel('m');
  await client.sendMessage('x', { stream: true });
  assert.deepEqual(asked, [`${url}/v1/chat/completions`]);
});
