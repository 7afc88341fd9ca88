// What a program does with the TypeScript client that openapi-generator makes: node usage.js ADDRESS
import { isAxiosError } from "axios";

import { AdminApi, AnthropicApi, Configuration, DebugApi, LmstudioApi, OllamaApi, OpenaiApi, ResponsesApi } from "./index";
import type { ChatRequest, OpenAIError } from "./index";

declare const process: { argv: string[] };

async function main(address: string): Promise<void> {
  const configuration = new Configuration({ basePath: address });
  const openai = new OpenaiApi(configuration);
  const models = await openai.listModels(undefined, undefined, 10);
  console.log("models", models.data.data.map((each) => each.id).sort().join(","));
  const loaded = await new AdminApi(configuration).adminLoad({ modelKey: "smollm2" });
  console.log("loaded", loaded.data.instanceId, loaded.data.status);
  const said: ChatRequest = { model: "smollm2", messages: [{ role: "user", content: "hello there" }] };
  const answer = await openai.chat(said);
  console.log("chat", answer.data.choices[0]?.message.content, answer.data.usage?.completion_tokens);
  const vectors = await openai.embed({ model: "minilm", input: "sea" });
  const embedding = vectors.data.data[0]?.embedding;
  console.log("embed", Array.isArray(embedding) ? embedding.length : embedding);
  const messages = [{ role: "user", content: "hello there" } as const];
  const message = await new AnthropicApi(configuration).messages({ model: "smollm2", max_tokens: 64, messages });
  console.log("messages", message.data.content[0]?.text, message.data.stop_reason);
  const response = await new ResponsesApi(configuration).createResponse({ model: "smollm2", input: "hello there" });
  const [part] = response.data.output[0]?.content ?? [];
  console.log("responses", part?.["text"]);
  const chat = await new OllamaApi(configuration).ollamaChat({ model: "smollm2", stream: false, messages });
  console.log("ollama", chat.data.message.content);
  const turn = await new LmstudioApi(configuration).lmstudioChat({ model: "smollm2", input: "hello there" });
  console.log("lmstudio", turn.data.output[0]?.content);
  const status = await new DebugApi(configuration).debugStatus();
  console.log("status", status.data.activeModel.modelKey);
  try {
    await openai.getModel("not-here");
  } catch (error) {
    if (!isAxiosError<OpenAIError>(error)) throw error;
    console.log("error", error.response?.status);
  }
}

main(process.argv[2] ?? "");
