// A client in the middle of an answer: it writes what comes, and is then killed.
import { connected } from './client.mjs';

const model = await connected().client.llm.model('slow', { verbose: false });
for await (const { content } of model.respond('x', { maxTokens: 1000 })) {
  if (content) process.stdout.write(content);
}
