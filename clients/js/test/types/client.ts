// Compiled, never run: what TypeScript users write, and what the types must refuse.
import { BusyError, LMStudioClient, LMStudioError, ResponseError, StreamError } from 'lanhaven';
import type { ChatMessage, Model, SendOptions } from 'lanhaven';
import { MockLMStudioServer } from 'lanhaven/mock-lmstudio-server';
import Default from 'lanhaven/mock-lmstudio-server';

const server: Default = new MockLMStudioServer(0, { models: ['a', { id: 'b' }], origins: ['http://localhost:3000'] });
server.next('one', ['two', ' three'], { error: 'no', code: 'engine_crashed', breakAt: 1 });
server.reply(async (body) => ({ content: body.messages.length.toString(), delay: 5 }));
const url: string = await server.start();

const client = new LMStudioClient(url, { apiKey: 'key', timeout: 1000 });
const models: Model[] = await client.fetchModels({ signal: AbortSignal.timeout(1000) });
const chosen: true = await client.setCurrentModel(models[0]!.id);
const history: ChatMessage[] = [{ role: 'user', content: 'Hello' }, { role: 'assistant', content: 'Hi there' }];
const options: SendOptions = {
  conversationHistory: history,
  temperature: null,
  maxTokens: 5,
  onToken: (token, fullContent) => console.log(token.length, fullContent.length, chosen),
};
const { content, streaming } = await client.sendMessage('How are you?', options);
console.log(content.toUpperCase(), streaming === true);

try {
  for await (const chunk of client.streamChat({ messages: history, tools: [] })) {
    console.log(chunk.choices[0]?.delta.content);
  }
  const whole = await client.chat({ messages: history, response_format: { type: 'json_object' } });
  console.log(whole.choices[0]?.finish_reason, whole.usage?.total_tokens);
} catch (error) {
  if (error instanceof BusyError) console.log(error.retryAfter, error.status.toFixed());
  else if (error instanceof ResponseError) console.log(error.detail, error.param, error.requestId);
  else if (error instanceof StreamError) console.log(error.content);
  else if (error instanceof LMStudioError) console.log(error.code, error.status?.toFixed());
}
const left: 'finished' | 'left' = await server.requests[0]!.ended;
console.log(left);
await server.stop();

// @ts-expect-error a prompt is needed
await client.sendMessage();
// @ts-expect-error a number
await client.sendMessage('x', { temperature: 'hot' });
// @ts-expect-error no such option
await client.sendMessage('x', { max_tokens: 5 });
// @ts-expect-error messages are needed
await client.chat({ model: 'x' });
// @ts-expect-error no such field of an answer
server.next({ text: 'x' });
// @ts-expect-error the base URL comes first
new LMStudioClient({ apiKey: 'key' });
