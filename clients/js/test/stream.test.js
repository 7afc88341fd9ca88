// Streams as servers really send them: cut anywhere, with comments, broken, failing in the middle.
import assert from 'node:assert/strict';
import test from 'node:test';

import { LMStudioClient, StreamError } from 'lanhaven';
import { delta, raw, streaming, warnings } from './raw.js';

async function asked(t, ...pieces) {
  const { url } = await raw(t, streaming(...pieces));
  const client = new LMStudioClient(url);
  await client.setCurrentModel('m');
  const tokens = [];
  const result = await client.sendMessage('x', { onToken: (token) => tokens.push(token) });
  return { ...result, tokens };
}

const DONE = 'data: [DONE]\n\n';

test('S2-10: data with and without a space, blank lines, CRLF', async (t) => {
  const told = warnings(t);
  const found = await asked(t, `${delta('a')}\n\n${delta('b').replace(': ', ':')}\r\n\r\n\n\n${delta('c')}\n${DONE}`);
  assert.deepEqual([found.content, told], ['abc', []]);
});

test('S2-10: lines and characters are cut anywhere', async () => {
  const bytes = Buffer.from(`${delta('grün ')}\n\n${delta('🌊 sea')}\n\n${DONE}`);
  const pieces = new ReadableStream({
    start(controller) {
      for (const byte of bytes) controller.enqueue(Uint8Array.of(byte));
      controller.close();
    },
  });
  const client = new LMStudioClient('http://nowhere', { fetch: async () => new Response(pieces) }); // sockets join pieces
  await client.setCurrentModel('m');
  assert.equal((await client.sendMessage('x', { stream: true })).content, 'grün 🌊 sea');
});

test('S2-12: a last line without an end counts', async (t) => {
  assert.equal((await asked(t, `${delta('a')}\n\n${delta('b', 'stop')}`)).content, 'ab');
  assert.equal((await asked(t, `${delta('a')}\n\ndata: [DONE]`)).content, 'a');
});

test('S2-11: comments, other fields and chunks without choices are no trouble', async (t) => {
  const told = warnings(t);
  const found = await asked(t, `: hello\n\nevent: message\nid: 7\nretry: 10\n${delta('a')}\n\n`,
    `data: {"choices":[],"usage":{"total_tokens":3}}\n\ndata: {"choices":[{"index":0}]}\n\n${DONE}`);
  assert.deepEqual([found.tokens, told], [['a'], []]);
});

test('a line of bare JSON counts as data', async (t) => {
  assert.equal((await asked(t, `${delta('a').slice(6)}\n${DONE}`)).content, 'a');
});

test('S2-10 S2-20: what cannot be read is warned of, and the rest comes', async (t) => {
  const told = warnings(t);
  const found = await asked(t, `${delta('a')}\n\ndata: {"choi\n\ndata: 7\n\n${delta('b')}\n\n${DONE}`);
  assert.equal(found.content, 'ab');
  assert.deepEqual(told.map(([text, error]) => [text, error instanceof SyntaxError]),
    [['Stream parse error:', true], ['Stream parse error:', true]]);
});

for (const [style, frame, code] of [
  ['an object', '{"error":{"message":"The engine crashed.","type":"server_error","code":"engine_crashed"}}',
    'engine_crashed'],
  ['a text', '{"error":"The engine crashed."}', null],
  ['a number as code', '{"error":{"message":"The engine crashed.","code":502}}', '502'],
]) {
  test(`S2-11 S2-12: an error in the stream is thrown: ${style}`, async (t) => {
    await assert.rejects(asked(t, `${delta('a ')}\n\n${delta('b')}\n\ndata: ${frame}\n\n`), (error) => {
      assert(error instanceof StreamError);
      assert.equal(error.message, 'LM Studio request failed: The engine crashed.');
      assert.deepEqual([error.code, error.content, error.detail], [code, 'a b', 'The engine crashed.']);
      return true;
    });
  });
}

test('an error that is null is none', async (t) => {
  assert.equal((await asked(t, `data: {"error":null,"choices":[{"delta":{"content":"a"}}]}\n\n${DONE}`)).content, 'a');
});

for (const [what, pieces] of [['nothing', []], ['a token', [`${delta('a')}\n\n`]], ['half a line', ['data: {"cho']]]) {
  test(`S2-20: a stream that ends after ${what} was cut off`, async (t) => {
    warnings(t);
    await assert.rejects(asked(t, ...pieces), (error) => error instanceof StreamError && error.code === 'stream_cut');
  });
}

test('what comes after [DONE] is not looked at', async (t) => {
  assert.equal((await asked(t, `${delta('a')}\n\n${DONE}${delta('b')}\n\ndata: {"error":"late"}\n\n`)).content, 'a');
});

test('S2-21: connections serve one stream after the other', async (t) => {
  const ports = new Set();
  const { url } = await raw(t, (request, response) => {
    ports.add(request.socket.remotePort);
    streaming(`${delta('a')}\n\n`, DONE)(request, response);
  });
  const client = new LMStudioClient(url);
  await client.setCurrentModel('m');
  for (let count = 0; count < 5; count++) await client.sendMessage('x', { stream: true });
  assert(ports.size <= 2, `${ports.size} connections`); // fetch itself takes turns with two
});

test('a server that leaves a finished stream open is not waited for', async (t) => {
  const { url, requests } = await raw(t, (request, response) => {
    response.writeHead(200, { 'Content-Type': 'text/event-stream' });
    response.write(`${delta('a')}\n\n${DONE}`);
  });
  const client = new LMStudioClient(url, { timeout: 2000 });
  await client.setCurrentModel('m');
  assert.equal((await client.sendMessage('x', { stream: true })).content, 'a');
  assert.equal(await requests[0].closed, false);
});

test('a mistake in onToken is the caller\'s, and ends the request', async (t) => {
  const { url, requests } = await raw(t, (request, response) => {
    response.writeHead(200, { 'Content-Type': 'text/event-stream' });
    response.write(`${delta('a')}\n\n`);
  });
  const client = new LMStudioClient(url);
  await client.setCurrentModel('m');
  const onToken = () => {
    throw new RangeError('mine');
  };
  await assert.rejects(client.sendMessage('x', { onToken }), new RangeError('mine'));
  assert.equal(await requests[0].closed, false);
});
