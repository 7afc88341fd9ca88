import { ConnectionError, RequestTimeoutError } from './errors.js';

const LONGEST_TIMER = 2 ** 31 - 1; // setTimeout takes a longer one for 1 ms
const LAST_WORDS = 1000; // ms that a server has to end the body of a stream that is complete

/** One request and its answer: what the caller aborts, what lasts too long and what breaks end up here. */
export class Exchange {
  #controller = new AbortController();
  #signal;
  #follow;
  #url;
  #limit;
  #late = false;
  #complete = false;

  /** @param {string} url @param {{signal?: AbortSignal | null, timeout: number}} options `timeout` in ms, 0 = none */
  constructor(url, { signal, timeout }) {
    if (!(timeout >= 0)) throw new RangeError(`timeout must be a number of milliseconds, 0 or more: ${timeout}`);
    signal?.throwIfAborted();
    this.#url = url;
    this.#limit = timeout;
    this.#signal = signal;
    this.#follow = () => this.#controller.abort(signal.reason);
    signal?.addEventListener('abort', this.#follow, { once: true });
  }

  /** Send it; the head of the answer. */
  open(fetch, init) {
    return this.#awaited(fetch(this.#url, { ...init, signal: this.#controller.signal }));
  }

  /** The answer's body, piece by piece. */
  async *pieces(response) {
    const reader = response.body?.getReader();
    while (reader) {
      let read;
      try {
        read = await this.#awaited(reader.read());
      } catch (error) {
        if (this.#complete && this.#late) return;
        throw error;
      }
      if (read.done) return;
      yield read.value;
    }
  }

  /** The whole body as text. */
  async text(response) {
    const decoder = new TextDecoder();
    let text = '';
    for await (const piece of this.pieces(response)) text += decoder.decode(piece, { stream: true });
    return text + decoder.decode();
  }

  /** All that matters has come: wait only shortly for the end, which lets the connection be used again. */
  complete() {
    this.#complete = true;
    this.#limit = Math.min(this.#limit || LAST_WORDS, LAST_WORDS);
  }

  /** Over, whether the answer is there or not. An answer that still comes is cut off, and the server sees that. */
  close() {
    this.#signal?.removeEventListener('abort', this.#follow);
    this.#controller.abort();
  }

  /** The clock runs only while we wait for the server, not while the caller does something with what came. */
  async #awaited(promise) {
    const limited = this.#limit > 0 && this.#limit <= LONGEST_TIMER;
    const timer = limited ? setTimeout(() => this.#tooLate(), this.#limit) : undefined;
    try {
      return await promise;
    } catch (error) {
      throw this.#told(error);
    } finally {
      clearTimeout(timer);
    }
  }

  #tooLate() {
    this.#late = true;
    this.#controller.abort();
  }

  #told(error) {
    if (this.#signal?.aborted) return this.#signal.reason;
    if (this.#late) return new RequestTimeoutError(this.#url, this.#limit);
    return new ConnectionError(this.#url, error);
  }
}
