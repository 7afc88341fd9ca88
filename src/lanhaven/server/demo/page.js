// A question as a job: what has been said survives a lost connection, and Stop ends the work, not only the reading.

const API = '/api/v1/ai/lmstudio';
const RETRIES = 5;
const at = (id) => document.getElementById(id);
let job = null;

function headers(extra = {}) {
  const key = at('key').value.trim();
  return key ? { ...extra, 'X-API-Key': key } : extra;
}

async function ask(path, options = {}) {
  const reply = await fetch(API + path, { ...options, headers: headers(options.headers) });
  if (reply.status === 401) at('keyed').hidden = false;
  if (!reply.ok) {
    const body = await reply.json().catch(() => ({}));
    throw new Error(body.error?.message ?? body.error ?? reply.statusText);
  }
  return reply;
}

async function* events(reply) {
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = '', { value, done } = await reader.read(); !done; { value, done } = await reader.read()) {
    const frames = (rest + value).split('\n\n');
    rest = frames.pop();
    for (const frame of frames) {
      const fields = Object.fromEntries(frame.split('\n').map((line) => line.split(/: ?(.*)/s).slice(0, 2)));
      if (fields.data) yield { id: fields.id, ...JSON.parse(fields.data) };
    }
  }
}

async function follow(id) {
  let last = '0';
  for (let lost = 0; lost < RETRIES; ) {
    try {
      for await (const event of events(await ask(`/stream/${id}`, { headers: { 'Last-Event-ID': last } }))) {
        [last, lost] = [event.id, 0];
        if (event.type === 'chunk') at('answer').textContent += event.payload.content;
        if (event.type === 'failed') throw Object.assign(new Error(event.payload.error.message), { final: true });
        if (event.type === 'completed') return event.payload;
      }
      lost += 1;
    } catch (error) {
      if (error.final || ++lost >= RETRIES) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 300 * lost));
  }
  throw new Error('The connection was lost too often.');
}

async function send(event) {
  event.preventDefault();
  at('answer').textContent = '';
  at('state').textContent = 'Waiting for the model …';
  at('send').disabled = true;
  try {
    const body = { model: at('model').value, messages: [{ role: 'user', content: at('prompt').value }] };
    const options = { method: 'POST', body: JSON.stringify(body), headers: { 'Content-Type': 'application/json' } };
    job = (await (await ask('/infer', options)).json()).job_id;
    at('stop').disabled = false;
    const done = await follow(job);
    at('state').textContent = `Done: ${done.usage?.completion_tokens ?? '?'} tokens.`;
  } catch (error) {
    at('state').textContent = `It failed: ${error.message}`;
  }
  job = null;
  at('send').disabled = false;
  at('stop').disabled = true;
}

async function stop() {
  if (job) await ask(`/jobs/${job}`, { method: 'DELETE' }).catch(() => {});
}

async function models() {
  try {
    const { data } = await (await ask('/models')).json();
    const able = data.filter((each) => (each.capabilities ?? ['chat']).includes('chat'));
    at('model').replaceChildren(...able.map((each) => new Option(each.id, each.id)));
    at('state').textContent = able.length ? '' : 'No model that chats is configured.';
  } catch (error) {
    at('state').textContent = at('keyed').hidden ? `No models: ${error.message}` : 'This server needs a key.';
  }
}

at('ask').addEventListener('submit', send);
at('stop').addEventListener('click', stop);
at('key').addEventListener('change', models);
models();
