// LM Studio's own client, as a guest without a key, against LanHaven with scripted models: tools, and what goes wrong.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import test from 'node:test';
import { fileURLToPath } from 'node:url';

import { rawFunctionTool } from '@lmstudio/sdk';
import { connected, http, until, worded } from './client.mjs';

const LIMIT = { timeout: 20_000 };
const { client, warnings } = connected();

test('a guest of this machine needs no key', LIMIT, async () => {
  const models = await client.system.listDownloadedModels();
  assert(models.some(({ modelKey }) => modelKey === 'alpha'));
});

test('model() loads what is asked for, with progress', LIMIT, async () => {
  const progress = [];
  const model = await client.llm.model('slow', { verbose: false, onProgress: (value) => progress.push(value) });
  assert.equal(progress.at(-1) ?? 1, 1);
  assert.equal((await client.llm.model('slow')).identifier, model.identifier);
});

test('act: the model calls the tool, gets its result and ends', LIMIT, async () => {
  const called = [];
  const weather = rawFunctionTool({
    name: 'weather',
    description: 'Tells the weather.',
    parametersJsonSchema: {
      type: 'object', properties: { city: { type: 'string' }, days: { type: 'integer' } }, required: ['city', 'days'],
    },
    implementation: (parameters) => {
      called.push(parameters);
      return 'sunny';
    },
  });
  const model = await client.llm.model('alpha', { verbose: false });
  const messages = [];
  const rounds = [];
  const result = await model.act('weather in Paris?', [weather], {
    onMessage: (message) => messages.push(message),
    onRoundStart: (index) => rounds.push(index),
  });
  assert.equal(called.length, 1);
  assert.deepEqual([typeof called[0].city, typeof called[0].days], ['string', 'number']);
  assert.deepEqual(messages.map((message) => message.getRole()), ['assistant', 'tool', 'assistant']);
  assert.equal(messages[0].getToolCallRequests()[0].name, 'weather');
  assert.equal(JSON.parse(messages[1].getToolCallResults()[0].content), 'sunny');
  assert.deepEqual([rounds, result.rounds], [[0, 1], 2]);
});

test('a model that cannot be loaded', LIMIT, async () => {
  await assert.rejects(client.llm.load('broken', { verbose: false }), worded(/blk\.7/));
});

test('an engine that ends in the middle is an error', LIMIT, async () => {
  const model = await client.llm.model('fragile', { verbose: false });
  assert.equal((await model.respond('x')).content, 'tok0 tok1 tok2 tok3 tok4');
  await assert.rejects(model.respond('x').result(), Error);
  const again = await client.llm.model('fragile', { verbose: false });
  assert.equal((await again.respond('x')).content, 'tok0 tok1 tok2 tok3 tok4');
});

test('a client that is killed ends its predictions', LIMIT, async () => {
  const program = fileURLToPath(new URL('vanishing.mjs', import.meta.url));
  const visitor = spawn(process.execPath, [program], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(visitor.stdout, 'data'); // and go on reading: a pipe that closes would end it before we do
  visitor.stdout.resume();
  const running = async () => (await http('/debug/metrics')).performance.inflightRequests;
  assert.equal(await running(), 1);
  visitor.kill('SIGKILL');
  await until(async () => await running() === 0, 'the server works on');
});

test('the client understood every frame', () => assert.deepEqual(warnings, []));
