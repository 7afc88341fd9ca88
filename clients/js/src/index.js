export { LMStudioClient } from './client.js';
export {
  BusyError,
  ConnectionError,
  LMStudioError,
  NoModelSelectedError,
  NotFoundError,
  ProtocolError,
  RequestTimeoutError,
  ResponseError,
  StreamError,
  UnauthorizedError,
} from './errors.js';
