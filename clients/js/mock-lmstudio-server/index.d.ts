/** A server that speaks LM Studio's OpenAI API with scripted answers, for tests without a model (Node.js). */
declare class MockLMStudioServer {
  /** @param port 1235 unless said; 0 = any free one. */
  constructor(port?: number, options?: MockLMStudioServer.Options);

  /** The real one once it is started. */
  port: number;
  host: string;
  /** Needed as Bearer or X-API-Key where set. */
  apiKey: string | null;
  /** Pages that may read the answers. */
  origins: string[];
  readonly url: string;
  readonly models: MockLMStudioServer.Model[];
  /** What came, oldest first. */
  readonly requests: MockLMStudioServer.Seen[];

  /** Listen; resolves to the address. */
  start(): Promise<string>;
  /** Stop at once, open streams too. */
  stop(): Promise<void>;

  setModels(models: (string | MockLMStudioServer.Model)[]): this;
  /** The answer to every chat that nothing else was scripted for. At first: the last user message. */
  reply(reply: MockLMStudioServer.Script): this;
  /** The answers to the next chats, one each. */
  next(...replies: MockLMStudioServer.Script[]): this;
  /** Forget what was scripted and seen. */
  reset(): this;
  /** The next request that comes, once it is there. */
  request(): Promise<MockLMStudioServer.Seen>;
}

declare namespace MockLMStudioServer {
  export interface Options {
    /** 127.0.0.1 unless said. */
    host?: string;
    /** ["mock-model"] unless said. */
    models?: (string | Model)[];
    apiKey?: string | null;
    /** ["*"] unless said. A listed origin may send credentials, "*" never. */
    origins?: string[];
  }

  export interface Model {
    id: string;
    [field: string]: unknown;
  }

  export interface Reply {
    /** The text, or the tokens of it. */
    content?: string | string[];
    /** Milliseconds before anything comes. */
    delay?: number;
    /** Milliseconds before each token of a stream. */
    interval?: number;
    /** "stop" unless said. */
    finishReason?: string;
    /** Answer with an error of this status. */
    status?: number;
    /** Text of the error. */
    error?: string;
    /** Code of the error. */
    code?: string;
    /** The stream breaks off after so many tokens: with an error frame if there is an `error`, else the connection is gone. */
    breakAt?: number;
  }

  export interface ChatBody {
    messages: { role: string; content: unknown; [field: string]: unknown }[];
    model?: string;
    stream?: boolean;
    [field: string]: unknown;
  }

  export type Script = string | string[] | Reply | ((body: ChatBody) => string | string[] | Reply | Promise<string | string[] | Reply>);

  export interface Seen {
    method: string;
    /** Without the query. */
    path: string;
    headers: Record<string, string | string[] | undefined>;
    body: unknown;
    /** "finished" when the whole answer was sent, "left" when the client went before that. */
    ended: Promise<'finished' | 'left'>;
  }

  export { MockLMStudioServer };
}

export = MockLMStudioServer;
