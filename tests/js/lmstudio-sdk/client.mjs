import assert from 'node:assert/strict';
import { after } from 'node:test';

import { LMStudioClient } from '@lmstudio/sdk';

/**
 * LM Studio's client of the server that LANHAVEN_URL names. What it warns of must be nothing: it warns of every frame
 * that it does not understand, and then waits for ever.
 */
export function connected(options = {}) {
  const warnings = [];
  const warn = (...words) => warnings.push(words.map(String).join(' '));
  const logger = { info() {}, debug() {}, warn, error: warn };
  const baseUrl = process.env.LANHAVEN_URL.replace(/^http/, 'ws');
  const client = new LMStudioClient({ baseUrl, logger, verboseErrorMessages: false, ...options });
  after(() => client[Symbol.asyncDispose]());
  return { client, warnings };
}

/** The two halves of an API token, as the client wants them. */
export function halves(token) {
  const [, clientIdentifier, clientPasskey] = /^sk-lm-(.{8}):(.{20})$/.exec(token);
  return { clientIdentifier, clientPasskey };
}

/** An API call past the client, for comparison. */
export async function http(path, body) {
  const response = await fetch(process.env.LANHAVEN_URL + path, {
    method: body ? 'POST' : 'GET',
    headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${process.env.LANHAVEN_KEY ?? 'none'}` },
    body: body && JSON.stringify(body),
  });
  assert.equal(response.status, 200, `${path}: ${response.status}`);
  return response.json();
}

/** Look again and again until `condition` holds. */
export async function until(condition, what) {
  for (let tries = 0; tries < 500; tries++) {
    if (await condition()) return;
    await new Promise((resolve) => { setTimeout(resolve, 20); });
  }
  assert.fail(what);
}

/** The text of an error with whatever box is drawn around it. */
export function worded(pattern) {
  return (error) => {
    assert(error instanceof Error);
    assert.match(error.message.replace(/\x1b\[[0-9;]*m/g, ''), pattern);
    return true;
  };
}
