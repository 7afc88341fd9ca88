// Against a real LanHaven with scripted models. LANHAVEN_URL and LANHAVEN_KEY say which; tests/js starts one.
import assert from 'node:assert/strict';
import test from 'node:test';

import { LMStudioClient, NotFoundError, RequestTimeoutError, ResponseError, StreamError, UnauthorizedError } from 'lanhaven';

const { LANHAVEN_URL: url, LANHAVEN_KEY: apiKey } = process.env;
if (!url || !apiKey) throw new Error('LANHAVEN_URL and LANHAVEN_KEY must name a server whose models are scripted');

async function asking(model = 'alpha') {
  const client = new LMStudioClient(url, { apiKey });
  await client.setCurrentModel(model);
  return client;
}

async function metrics() {
  const response = await fetch(`${url}/debug/metrics`, { headers: { Authorization: `Bearer ${apiKey}` } });
  const { performance } = await response.json();
  return { cancelled: performance.cancelledRequests, inflight: performance.inflightRequests };
}

/** Look again and again until the server's counts are so. */
async function until(condition, what) {
  for (let tries = 0; tries < 500; tries++) {
    if (condition(await metrics())) return;
    await new Promise((resolve) => { setTimeout(resolve, 20); });
  }
  assert.fail(what);
}

/** The server must count one more that was cancelled than `before`, and nothing runs. */
function cancelledAfter(before) {
  return until((now) => now.cancelled === before.cancelled + 1 && now.inflight === 0, 'it did not see the request end');
}

function scripted(mock, text = 'one two three four five') {
  return { messages: [{ role: 'user', content: text }], mock };
}

async function tokensOf(stream) {
  let text = '';
  for await (const chunk of stream) text += chunk.choices[0]?.delta?.content ?? '';
  return text;
}

test('S2-03 S2-18: the models that it could run', async () => {
  const models = await (await asking()).fetchModels();
  const ids = models.map(({ id }) => id);
  for (const id of ['alpha', 'slow', 'broken']) assert(ids.includes(id), ids.join());
});

test('S2-14: a whole answer', async () => {
  assert.deepEqual(await (await asking()).sendMessage('Hello, how are you?'),
    { content: 'Hello, how are you?', streaming: false });
});

test('S2-10 S2-13: a stream', async () => {
  const seen = [];
  const result = await (await asking()).sendMessage('Tell me a story', { onToken: (...words) => seen.push(words) });
  assert.deepEqual(result, { content: 'Tell me a story', streaming: true });
  assert.equal(seen.length, 4);
  assert.equal(seen.at(-1)[1], result.content);
});

test('S2-08 S2-19: a conversation, a limit, another model', async () => {
  const client = await asking('slow');
  const conversationHistory = [{ role: 'user', content: 'Hello' }, { role: 'assistant', content: 'Hi there' }];
  const { content } = await client.sendMessage('Count', { conversationHistory, maxTokens: 3, temperature: 0 });
  assert.equal(content, 'tok0 tok1 tok2');
});

test('tools and schemas pass through chat', async () => {
  const client = await asking();
  const tool = { type: 'function', function: { name: 'weather', parameters: { type: 'object', properties: {} } } };
  const messages = [{ role: 'user', content: 'weather please' }];
  const called = await client.chat({ messages, tools: [tool], tool_choice: 'required' });
  assert.equal(called.choices[0].message.tool_calls[0].function.name, 'weather');
  const schema = { type: 'object', properties: { age: { type: 'integer' } }, required: ['age'] };
  const format = { type: 'json_schema', json_schema: { name: 'person', schema } };
  const { choices } = await client.chat({ messages, response_format: format });
  assert.equal(typeof JSON.parse(choices[0].message.content).age, 'number');
});

test('S2-12: abort in the stream frees the model', async () => {
  const client = await asking('slow');
  const before = await metrics();
  const controller = new AbortController();
  const onToken = (token, all) => all.includes('tok2') && controller.abort();
  await assert.rejects(client.sendMessage('x', { onToken, signal: controller.signal }), { name: 'AbortError' });
  await cancelledAfter(before);
});

test('S2-12: abort before the answer frees the model', async () => {
  const client = await asking();
  const before = await metrics();
  const controller = new AbortController();
  const asked = client.chat(scripted({ delay: 60 }), { signal: controller.signal });
  await until((now) => now.inflight === 1, 'the request did not come');
  controller.abort();
  await assert.rejects(asked, { name: 'AbortError' });
  await cancelledAfter(before);
});

test('S2-21: leaving the loop frees the model', async () => {
  const client = await asking('slow');
  const before = await metrics();
  for await (const chunk of client.streamChat(scripted({}))) {
    if (chunk.choices[0].delta.content) break;
  }
  await cancelledAfter(before);
});

test('S2-21: a server that is silent for too long', async () => {
  const before = await metrics();
  await assert.rejects((await asking()).chat(scripted({ delay: 60 }), { timeout: 100 }), RequestTimeoutError);
  await cancelledAfter(before);
});

test('S2-12: a wrong key and none', async () => {
  for (const wrong of ['sk-lan-wrong', null]) {
    const client = new LMStudioClient(url, { apiKey: wrong });
    await assert.rejects(client.fetchModels(), (error) => {
      assert(error instanceof UnauthorizedError);
      assert.deepEqual([error.status, error.code], [401, 'invalid_api_key']);
      assert.match(error.message, /^Failed to fetch models: Unauthorized - /);
      return true;
    });
  }
});

test('S2-09: a model that does not exist', async () => {
  const client = await asking('nobody');
  for (const stream of [true, false]) {
    await assert.rejects(client.sendMessage('x', { stream }), (error) => {
      assert(error instanceof NotFoundError);
      assert.deepEqual([error.status, error.code], [404, 'model_not_found']);
      assert.match(error.message, /^LM Studio request failed: Not Found - .*nobody/);
      assert(error.requestId);
      return true;
    });
  }
});

test('S2-20: a load that fails is told before the stream', async () => {
  const client = await asking('broken');
  await assert.rejects(client.sendMessage('x', { stream: true }), (error) => {
    assert(error instanceof ResponseError);
    assert.deepEqual([error.status, error.code], [500, 'load_failed']);
    return /blk\.7/.test(error.detail);
  });
});

for (const what of ['fin', 'rst', 'crash', 'error', 'half', 'end']) {
  test(`S2-11: an engine that fails in the stream is an error, never a short answer: ${what}`, async () => {
    const client = await asking();
    const stream = client.streamChat(scripted({ do: what, at: 2, interval: 0.005 }));
    await assert.rejects(tokensOf(stream), (error) => {
      assert(error instanceof StreamError, String(error));
      assert(error.code && error.code !== 'stream_cut', error.code);
      return true;
    });
    assert.equal((await client.sendMessage('and again')).content, 'and again');
  });
}
