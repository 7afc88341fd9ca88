import { once } from 'node:events';
import http from 'node:http';

/** A server whose every answer `answer(request, response)` writes; what it was asked, and `stop`. For odd answers. */
export async function raw(t, answer) {
  const requests = [];
  const server = http.createServer(async (request, response) => {
    let text = '';
    for await (const piece of request.setEncoding('utf8')) text += piece;
    const closed = new Promise((resolve) => {
      response.once('close', () => resolve(response.writableFinished));
    });
    requests.push({ method: request.method, path: request.url, headers: request.headers, text, closed });
    answer(request, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => new Promise((resolve) => {
    server.close(resolve);
    server.closeAllConnections();
  }));
  return { url: `http://127.0.0.1:${server.address().port}`, requests };
}

/** Answers every request with these lines of a stream, exactly as they are. */
export function streaming(...pieces) {
  return (request, response) => {
    response.writeHead(200, { 'Content-Type': 'text/event-stream' });
    for (const piece of pieces) response.write(piece);
    response.end();
  };
}

export function delta(content, finish = null) {
  return `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content }, finish_reason: finish }] })}`;
}

/** What console.warn is told while the test runs. */
export function warnings(t) {
  const told = [];
  t.mock.method(console, 'warn', (...words) => told.push(words));
  return told;
}
