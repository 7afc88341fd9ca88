/*
 * LMStudioError
 * ├── NoModelSelectedError     sendMessage before setCurrentModel
 * ├── ConnectionError          no answer at all: refused, reset, or a browser that was not allowed to read it
 * ├── RequestTimeoutError      the server was silent for longer than `timeout`
 * ├── ResponseError            the server answered with an error: status, code, detail ...
 * │   ├── UnauthorizedError    401, 403
 * │   ├── NotFoundError        404: mostly a model that does not exist
 * │   └── BusyError            429, 503: try again after `retryAfter` seconds
 * ├── StreamError              a stream that failed or broke off after it had begun; `content` is what had come
 * └── ProtocolError            an answer that is none of this API
 *
 * A request that its caller aborts rejects with the signal's reason, as fetch does, and not with one of these.
 */

/** What all errors of this package have. */
export class LMStudioError extends Error {
  /** @param {string} message @param {{code?: string | null, status?: number | null, cause?: unknown}} [facts] */
  constructor(message, { code = null, status = null, cause } = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = new.target.name;
    this.code = code;
    this.status = status;
  }
}

export class NoModelSelectedError extends LMStudioError {
  constructor() {
    super('No LM Studio model selected', { code: 'no_model_selected' });
  }
}

export class ConnectionError extends LMStudioError {
  constructor(url, cause) {
    const why = cause?.cause?.message || cause?.message || String(cause);
    const hint = typeof document === 'undefined' ? '' : ', or the server does not allow this page (cors_origins)';
    super(`No answer from ${url}: ${why}${hint}`, { code: 'connection_failed', cause });
  }
}

export class RequestTimeoutError extends LMStudioError {
  constructor(url, milliseconds) {
    super(`Nothing came from ${url} for ${milliseconds} ms`, { code: 'timeout' });
    this.timeout = milliseconds;
  }
}

export class ResponseError extends LMStudioError {
  constructor(message, { detail = null, type = null, param = null, retryAfter = null, requestId = null, ...facts }) {
    super(message, facts);
    this.detail = detail;
    this.type = type;
    this.param = param;
    this.retryAfter = retryAfter;
    this.requestId = requestId;
  }
}

export class UnauthorizedError extends ResponseError {}

export class NotFoundError extends ResponseError {}

export class BusyError extends ResponseError {}

export class StreamError extends LMStudioError {
  constructor(message, { detail = null, type = null, ...facts }) {
    super(message, facts);
    this.detail = detail;
    this.type = type;
    this.content = '';
  }
}

export class ProtocolError extends LMStudioError {
  constructor(message, cause) {
    super(message, { code: 'protocol_error', cause });
  }
}

const BY_STATUS = new Map([[401, UnauthorizedError], [403, UnauthorizedError], [404, NotFoundError], [429, BusyError],
  [503, BusyError]]);

/** The error for a reply that is not ok. `what` begins its message, before the status and the server's own words. */
export function responseError(what, response, text) {
  const told = errorIn(parsed(text)) ?? { detail: text.slice(0, 500).trim() || null };
  const reason = response.statusText || `HTTP ${response.status}`;
  const seconds = Number.parseFloat(response.headers.get('retry-after') ?? '');
  const Kind = BY_STATUS.get(response.status) ?? ResponseError;
  return new Kind(`${what}: ${reason}${told.detail ? ` - ${told.detail}` : ''}`, {
    ...told,
    status: response.status,
    retryAfter: Number.isFinite(seconds) ? seconds : null,
    requestId: response.headers.get('x-request-id'),
  });
}

/**
 * What `{"error": ...}` says, whether an object (OpenAI) or a text (LanHaven's own routes, LM Studio); null if there is
 * none.
 */
export function errorIn(body) {
  const error = body?.error;
  if (!error) return null;
  if (typeof error !== 'object') return { detail: String(error), code: textOf(body.code) };
  return {
    detail: textOf(error.message) ?? JSON.stringify(error),
    code: textOf(error.code),
    type: textOf(error.type),
    param: textOf(error.param),
  };
}

function textOf(value) {
  return value === undefined || value === null ? null : String(value);
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
