// The types are written by hand: what they name exists, and what exists they name.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import test from 'node:test';

import * as lanhaven from 'lanhaven';
import { MockLMStudioServer } from 'lanhaven/mock-lmstudio-server';

const read = (path) => readFile(new URL(path, import.meta.url), 'utf8');

test('the types name exactly what the module exports', async () => {
  const declared = [...(await read('../src/index.d.ts')).matchAll(/^export class (\w+)/gm)].map(([, name]) => name);
  assert.deepEqual(declared.sort(), Object.keys(lanhaven).sort());
});

for (const [Class, path] of [[lanhaven.LMStudioClient, '../src/index.d.ts'],
  [MockLMStudioServer, '../mock-lmstudio-server/index.d.ts']]) {
  test(`the types name every method of ${Class.name}`, async () => {
    const text = (await read(path)).split(`class ${Class.name} {`)[1].split('\n}')[0];
    const declared = [...text.matchAll(/^ {2}(\w+)\(/gm)].map(([, name]) => name);
    const there = Object.entries(Object.getOwnPropertyDescriptors(Class.prototype))
      .filter(([, { value }]) => typeof value === 'function').map(([name]) => name);
    assert.deepEqual(declared.sort(), there.sort());
  });
}

test('nothing is needed but Node.js or a browser', async () => {
  assert.equal(JSON.parse(await read('../package.json')).dependencies, undefined);
  for (const file of ['index', 'client', 'errors', 'exchange', 'frames']) {
    const imports = [...(await read(`../src/${file}.js`)).matchAll(/from '([^']+)'/g)].map(([, from]) => from);
    assert.deepEqual(imports.filter((from) => !from.startsWith('./')), []);
  }
});
