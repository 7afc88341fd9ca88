/** A message of a conversation, as OpenAI's chat API has it. */
export interface ChatMessage {
  role: 'system' | 'developer' | 'user' | 'assistant' | 'tool' | (string & {});
  content?: string | ContentPart[] | null;
  [field: string]: unknown;
}

export interface ContentPart {
  type: string;
  [field: string]: unknown;
}

/** An entry of the list of models. LanHaven and LM Studio add fields. */
export interface Model {
  id: string;
  object?: string;
  owned_by?: string;
  [field: string]: unknown;
}

export interface ClientOptions {
  /** Sent as `Authorization: Bearer`. Whoever can read the page's source or traffic can read it too. */
  apiKey?: string | null;
  /** Longest silence of the server in milliseconds, 0 = any. 300000 unless said. */
  timeout?: number;
  /** Used instead of the global `fetch`. */
  fetch?: typeof fetch | null;
}

export interface RequestOptions {
  /** Aborts the request; the server sees the connection end and stops computing. */
  signal?: AbortSignal | null;
  /** Longest silence in milliseconds, for this request. */
  timeout?: number;
}

export interface SendOptions extends RequestOptions {
  /** What was said before, oldest first. */
  conversationHistory?: ChatMessage[];
  /** Called with each token and all that has come so far. */
  onToken?: ((token: string, fullContent: string) => void) | null;
  /** 0.7 unless said; null leaves it to the server. */
  temperature?: number | null;
  /** 2048 unless said; null leaves it to the server. */
  maxTokens?: number | null;
  /** true if there is an `onToken`, unless said. */
  stream?: boolean;
}

export interface Message {
  content: string;
  streaming: boolean;
}

/** A body of POST /v1/chat/completions. `stream` is set by the method. */
export interface ChatRequest {
  messages: ChatMessage[];
  /** The current model unless said. */
  model?: string;
  temperature?: number;
  max_tokens?: number;
  [field: string]: unknown;
}

export interface ChatChoice {
  index: number;
  message: ChatMessage;
  finish_reason: string | null;
  [field: string]: unknown;
}

export interface ChatCompletion {
  id: string;
  model: string;
  choices: ChatChoice[];
  usage?: Usage;
  [field: string]: unknown;
}

export interface ChunkChoice {
  index: number;
  delta: Partial<ChatMessage>;
  finish_reason: string | null;
  [field: string]: unknown;
}

export interface ChatChunk {
  id: string;
  model: string;
  choices: ChunkChoice[];
  usage?: Usage | null;
  [field: string]: unknown;
}

export interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
  [field: string]: unknown;
}

/** Chats with LanHaven, LM Studio or any server that speaks OpenAI's API. */
export class LMStudioClient {
  /** @param baseUrl `http://127.0.0.1:1234` unless said; a `/` or `/v1` at its end does not matter. */
  constructor(baseUrl?: string, options?: ClientOptions);

  baseUrl: string;
  /** The model that sendMessage asks; null at first. */
  currentModel: string | null;
  /** Longest silence of the server in milliseconds, 0 = any. */
  timeout: number;

  /** All models that the server offers. */
  fetchModels(options?: RequestOptions): Promise<Model[]>;

  /** Choose the model to ask. The server is not asked whether it has it. */
  setCurrentModel(modelId: string): Promise<true>;

  /** Ask the current model. NoModelSelectedError if there is none. */
  sendMessage(prompt: string | ContentPart[], options?: SendOptions): Promise<Message>;

  /** A whole completion, with all that the API has: tools, response_format, logprobs ... */
  chat(body: ChatRequest, options?: RequestOptions): Promise<ChatCompletion>;

  /** The same as chunks, as they come. Leaving the loop ends the request. */
  streamChat(body: ChatRequest, options?: RequestOptions): AsyncGenerator<ChatChunk, void, undefined>;
}

/** What all errors of this package have. */
export class LMStudioError extends Error {
  /** The server's code (`model_not_found`, `queue_full` ...), or one of ours (`timeout`, `stream_cut` ...). */
  readonly code: string | null;
  /** The HTTP status where there was an answer. */
  readonly status: number | null;
  /** Of a streamed sendMessage that failed: what had come. */
  readonly content?: string;
}

/** sendMessage before setCurrentModel. */
export class NoModelSelectedError extends LMStudioError {}

/** No answer at all: refused, reset, or a browser that was not allowed to read it. */
export class ConnectionError extends LMStudioError {}

/** The server was silent for longer than `timeout`. */
export class RequestTimeoutError extends LMStudioError {
  readonly timeout: number;
}

/** The server answered with an error. */
export class ResponseError extends LMStudioError {
  readonly status: number;
  /** The server's own words. */
  readonly detail: string | null;
  readonly type: string | null;
  /** The field of the request that is wrong. */
  readonly param: string | null;
  /** Seconds after which it may work. */
  readonly retryAfter: number | null;
  /** What the server's log calls the request. */
  readonly requestId: string | null;
}

/** 401, 403. */
export class UnauthorizedError extends ResponseError {}

/** 404: mostly a model that does not exist. */
export class NotFoundError extends ResponseError {}

/** 429, 503: try again later. */
export class BusyError extends ResponseError {}

/** A stream that failed or broke off after it had begun. */
export class StreamError extends LMStudioError {
  readonly detail: string | null;
  readonly type: string | null;
  /** What had come, of a streamed sendMessage. */
  readonly content: string;
}

/** An answer that is none of this API. */
export class ProtocolError extends LMStudioError {}
