// LM Studio's own client against LanHaven with real models, SmolLM2 and MiniLM, and a key.
import assert from 'node:assert/strict';
import test from 'node:test';

import { Chat, LMStudioClient, rawFunctionTool } from '@lmstudio/sdk';
import { connected, halves, http, until, worded } from './client.mjs';

const { client, warnings } = connected(halves(process.env.LANHAVEN_KEY));
const LIMIT = { timeout: 40_000 };
const GREEDY = { temperature: 0, maxTokens: 12 };
const QUESTION = 'What is the capital of France?';

let model;

test('models on disk: both kinds, one kind', LIMIT, async () => {
  const all = await client.system.listDownloadedModels();
  const kinds = new Map(all.map(({ modelKey, type }) => [modelKey, type]));
  assert.deepEqual([kinds.get('smollm2'), kinds.get('minilm')], ['llm', 'embedding']);
  const [chat] = (await client.system.listDownloadedModels('llm')).filter(({ modelKey }) => modelKey === 'smollm2');
  assert.deepEqual([chat.format, chat.architecture, chat.maxContextLength, chat.vision], ['gguf', 'llama', 8192, false]);
  assert(chat.sizeBytes > 50e6 && chat.displayName && chat.path);
  assert((await client.system.listDownloadedModels('embedding')).every(({ type }) => type === 'embedding'));
});

test('version', LIMIT, async () => {
  const { version, build } = await client.system.getLMStudioVersion();
  assert.match(version, /^\d+\.\d+\.\d+/);
  assert(Number.isInteger(build));
});

test('load with a configuration, and progress', LIMIT, async () => {
  const progress = [];
  model = await client.llm.load('smollm2', {
    identifier: 'mine',
    config: { contextLength: 1024, gpu: { ratio: 'off' }, flashAttention: false, evalBatchSize: 256 },
    ttl: 600,
    verbose: false,
    onProgress: (value) => progress.push(value),
  });
  assert.equal(model.identifier, 'mine');
  assert(progress.every((value, index) => value >= 0 && value <= 1 && value >= (progress[index - 1] ?? 0)), progress.join());
  assert.equal(progress.at(-1), 1);
  assert.equal(await model.getContextLength(), 1024);
  const { loaded } = await http('/admin/models');
  assert.equal(loaded.find(({ identifier }) => identifier === 'mine').contextLength, 1024);
});

test('what is loaded, and what is told of it', LIMIT, async () => {
  const listed = await client.llm.listLoaded();
  assert(listed.some(({ identifier }) => identifier === 'mine'));
  const info = await model.getModelInfo();
  const { identifier, modelKey, type, contextLength } = info;
  assert.deepEqual([identifier, modelKey, type, contextLength], ['mine', 'smollm2', 'llm', 1024]);
  assert(info.instanceReference && info.path && info.format === 'gguf');
  assert.deepEqual((await client.embedding.listLoaded()).filter((each) => each.identifier === 'mine'), []);
});

test('an identifier that is taken', LIMIT, async () => {
  await assert.rejects(client.llm.load('smollm2', { identifier: 'mine', verbose: false }), worded(/already exists/));
});

test('a second copy without a name is numbered', LIMIT, async () => {
  const first = await client.llm.load('smollm2', { verbose: false, config: { contextLength: 256 } });
  const second = await client.llm.load('smollm2', { verbose: false, config: { contextLength: 256 } });
  assert.match(second.identifier, /^smollm2:\d+$/);
  await second.unload();
  if (first.identifier !== 'smollm2') await first.unload();
  else await client.llm.unload('smollm2');
});

test('model() gives what is loaded and loads what is not', LIMIT, async () => {
  const found = await client.llm.model('mine');
  assert.equal((await found.getModelInfo()).instanceReference, (await model.getModelInfo()).instanceReference);
  assert((await client.llm.model()).identifier);
});

test('respond', LIMIT, async () => {
  const result = await model.respond(QUESTION, GREEDY);
  assert(result.content.trim());
  assert.equal(result.content, result.nonReasoningContent);
  const { stats, modelInfo } = result;
  assert(['eosFound', 'maxPredictedTokensReached'].includes(stats.stopReason), stats.stopReason);
  assert(stats.predictedTokensCount <= 12 && stats.promptTokensCount > 5);
  assert.equal(stats.totalTokensCount, stats.predictedTokensCount + stats.promptTokensCount);
  assert(stats.tokensPerSecond > 0 && stats.timeToFirstTokenSec > 0);
  assert.equal(modelInfo.identifier, 'mine');
});

test('respond says what the other API says', LIMIT, async () => {
  const { content } = await model.respond(QUESTION, GREEDY);
  const body = { model: 'mine', messages: [{ role: 'user', content: QUESTION }], temperature: 0, max_tokens: 12 };
  assert.equal(content, (await http('/v1/chat/completions', body)).choices[0].message.content);
});

test('a conversation with a system prompt', LIMIT, async () => {
  const chat = Chat.empty();
  chat.append('system', 'You answer briefly.');
  chat.append('user', 'Hello');
  chat.append('assistant', 'Hi there');
  chat.append('user', QUESTION);
  const told = await model.applyPromptTemplate(chat);
  for (const part of ['You answer briefly.', 'Hi there', QUESTION, '<|im_start|>']) assert(told.includes(part), told);
  assert((await model.respond(chat, GREEDY)).content.trim());
});

test('stream', LIMIT, async () => {
  const progress = [];
  let first = 0;
  const prediction = model.respond('Count from one to ten.', {
    ...GREEDY, maxTokens: 24, onFirstToken: () => { first += 1; }, onPromptProcessingProgress: (value) => progress.push(value),
  });
  const parts = [];
  for await (const { content, reasoningType, tokensCount } of prediction) {
    parts.push(content);
    assert.equal(reasoningType, 'none');
    assert(tokensCount >= 0);
  }
  assert.equal(first, 1);
  assert(parts.length > 5, `${parts.length} fragments`);
  assert(progress.every((value, index) => value >= (progress[index - 1] ?? 0) && value <= 1), progress.join());
  assert.equal(parts.join(''), (await prediction.result()).content);
});

for (const [how, stop] of [
  ['cancel()', (prediction) => prediction.cancel()],
  ['a signal', (prediction, controller) => controller.abort()],
  ['leaving the loop', (prediction) => prediction.cancel()],
]) {
  test(`cancel by ${how} ends the work`, LIMIT, async () => {
    const controller = new AbortController();
    const prediction = model.respond('Tell me a very long story.', { temperature: 0, maxTokens: 900, signal: controller.signal });
    let seen = 0;
    for await (const fragment of prediction) {
      seen += fragment.tokensCount;
      if (seen < 3) continue;
      stop(prediction, controller);
      if (how === 'leaving the loop') break;
    }
    const { stats, content } = await prediction.result();
    assert.equal(stats.stopReason, 'userStopped');
    assert(content.length > 0 && stats.predictedTokensCount < 900);
    const idle = async () => (await http('/debug/metrics')).performance.inflightRequests === 0;
    await until(idle, 'the server works on');
  });
}

test('structured answers', LIMIT, async () => {
  const jsonSchema = {
    type: 'object',
    properties: { city: { type: 'string', maxLength: 20 }, people: { type: 'integer', minimum: 0, maximum: 999 } },
    required: ['city', 'people'],
    additionalProperties: false,
  };
  const { content } = await model.respond(QUESTION, { temperature: 0, maxTokens: 80, structured: { type: 'json', jsonSchema } });
  const { city, people } = JSON.parse(content);
  assert.deepEqual([typeof city, typeof people], ['string', 'number']);
});

test('stop strings and token limits', LIMIT, async () => {
  const { content } = await model.respond('Say: one two three', { temperature: 0, maxTokens: 40, stopStrings: ['t'] });
  assert(!content.includes('t'));
  const { stats } = await model.respond('Tell me a long story.', { temperature: 0, maxTokens: 3 });
  assert.deepEqual([stats.stopReason, stats.predictedTokensCount], ['maxPredictedTokensReached', 3]);
});

test('raw completion has no template around it', LIMIT, async () => {
  const prompt = 'The capital of France is';
  const { content } = await model.complete(prompt, { temperature: 0, maxTokens: 8 });
  const { choices } = await http('/v1/completions', { model: 'mine', prompt, temperature: 0, max_tokens: 8 });
  assert.equal(content, choices[0].text);
});

test('tokens', LIMIT, async () => {
  const tokens = await model.tokenize('The sea is calm.');
  assert(tokens.length > 3 && tokens.every(Number.isInteger));
  assert.equal(await model.countTokens('The sea is calm.'), tokens.length);
  assert.deepEqual((await model.tokenize(['The sea is calm.', 'Yes'])).map((each) => each.length), [tokens.length, 1]);
});

test('several at once on one connection', LIMIT, async () => {
  const asked = ['Hello', QUESTION, 'Count to three.', 'Name a sea.'];
  const results = await Promise.all([
    ...asked.map((text) => model.respond(text, GREEDY)), model.tokenize('a b'), client.llm.listLoaded(),
  ]);
  assert(results.slice(0, 4).every(({ content }) => content.trim()));
});

test('a prompt that is too long is an error that says so', LIMIT, async () => {
  await assert.rejects(model.respond('word '.repeat(3000), GREEDY).result(), worded(/context|tokens/i));
});

test('tools do not stop a model that knows none', LIMIT, async () => {
  const add = rawFunctionTool({
    name: 'add',
    description: 'Adds two numbers.',
    parametersJsonSchema: { type: 'object', properties: { a: { type: 'number' }, b: { type: 'number' } }, required: ['a', 'b'] },
    implementation: ({ a, b }) => a + b,
  });
  const told = [];
  const result = await model.act('Add 2 and 3.', [add], {
    temperature: 0, maxTokens: 40, maxPredictionRounds: 2, onMessage: (message) => told.push(message.getRole()),
  });
  assert(result.rounds >= 1);
  assert.equal(told[0], 'assistant');
});

test('a picture for a model without eyes is an error', LIMIT, async () => {
  const pixel = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';
  const other = connected(halves(process.env.LANHAVEN_KEY)).client; // it is warned as well, and ours shall not be
  const image = await other.files.prepareImageBase64('pixel.png', pixel);
  const asked = (await other.llm.model('mine')).respond([{ role: 'user', content: 'What is this?', images: [image] }], GREEDY);
  await assert.rejects(asked.result(), worded(/image|vision|picture/i));
});

test('the log of predictions', LIMIT, async () => {
  const told = [];
  const other = connected(halves(process.env.LANHAVEN_KEY)).client; // 1.5.0 knows this kind of entry only, and warns of others
  const stop = other.diagnostics.unstable_streamLogs(({ data }) => told.push(data));
  await until(async () => {
    await model.respond(QUESTION, { temperature: 0, maxTokens: 2 });
    return told.length > 0;
  }, 'nothing is told');
  stop();
  assert.deepEqual([told[0].type, told[0].modelIdentifier, typeof told[0].input], ['llm.prediction.input', 'mine', 'string']);
});

test('embeddings', LIMIT, async () => {
  const embedder = await client.embedding.load('minilm', { verbose: false, ttl: 600 });
  assert.equal(await embedder.getContextLength() > 0, true);
  const { embedding } = await embedder.embed('The sea is calm.');
  assert.equal(embedding.length, 384);
  const { data } = await http('/v1/embeddings', { model: embedder.identifier, input: 'The sea is calm.' });
  assert(data[0].embedding.every((value, index) => Math.abs(value - embedding[index]) < 1e-4));
  const both = await embedder.embed(['The sea is calm.', 'Nobody swam.']);
  assert.deepEqual(both.map((each) => each.embedding.length), [384, 384]);
  const tokens = await embedder.tokenize('The sea is calm.');
  assert.equal(tokens.length, await embedder.countTokens('The sea is calm.') + 2);
  assert((await client.embedding.listLoaded()).some(({ identifier }) => identifier === embedder.identifier));
  await embedder.unload();
  assert(!(await client.embedding.listLoaded()).some(({ identifier }) => identifier === embedder.identifier));
});

test('a model of the wrong kind', LIMIT, async () => {
  await assert.rejects(client.embedding.load('smollm2', { verbose: false }), Error);
});

test('a model that nobody has', LIMIT, async () => {
  await assert.rejects(client.llm.load('nobody', { verbose: false }), worded(/nobody/));
  await assert.rejects(client.llm.model('nobody', { verbose: false }), worded(/nobody/));
  const handle = client.llm.createDynamicHandle('nobody');
  await assert.rejects(handle.respond('x').result(), worded(/nobody|No loaded model/));
  await assert.rejects(handle.tokenize('x'), worded(/nobody|No loaded model/));
  assert.equal(await handle.getModelInfo(), undefined);
});

test('what is not offered is an error, not silence', LIMIT, async () => {
  const other = connected(halves(process.env.LANHAVEN_KEY)).client;
  await assert.rejects(other.plugins.reindexPlugins(), worded(/reindexPlugins/));
  await assert.rejects(other.system.startHttpServer({ port: 1 }), Error);
});

test('unload, and what is left of a handle then', LIMIT, async () => {
  await model.unload();
  assert(!(await client.llm.listLoaded()).some(({ identifier }) => identifier === 'mine'));
  await assert.rejects(model.respond('x', GREEDY).result(), Error);
  await assert.rejects(model.getModelInfo(), Error);
  await assert.rejects(client.llm.unload('mine'), worded(/mine/));
  const again = await client.llm.load('smollm2', { identifier: 'mine', verbose: false, config: { contextLength: 256 } });
  await assert.rejects(model.tokenize('x'), Error, 'a new copy is not the old one, whatever its name');
  await again.unload();
});

test('a wrong key and none', LIMIT, async () => {
  const wrong = [{ clientIdentifier: 'Stranger', clientPasskey: 'abcdefghijklmnopqrst' }, {}];
  for (const options of wrong) {
    const stranger = connected(options);
    await assert.rejects(stranger.client.system.listDownloadedModels(), worded(/key|token/i));
  }
});

test('the client understood every frame', () => assert.deepEqual(warnings, []));

test('a client that only comes and goes', LIMIT, async () => {
  const baseUrl = process.env.LANHAVEN_URL.replace(/^http/, 'ws');
  for (let count = 0; count < 5; count++) {
    const visitor = new LMStudioClient({ baseUrl, ...halves(process.env.LANHAVEN_KEY) });
    assert(Array.isArray(await visitor.llm.listLoaded()));
    await visitor[Symbol.asyncDispose]();
  }
});
