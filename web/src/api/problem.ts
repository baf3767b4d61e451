// Errors of the API, in words for people.

export type Code = 'invalid' | 'unauthenticated' | 'forbidden' | 'not_found' | 'conflict' | 'exhausted' | 'unavailable' | 'internal' | 'offline';

export class ApiError extends Error {
  readonly code: Code;
  readonly status: number;
  /** Seconds after which to try again; 0 where the hub does not say. */
  readonly retryAfter: number;

  constructor(code: Code, status: number, message: string, retryAfter = 0) {
    super(message);
    this.code = code;
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

const codes: readonly string[] = ['invalid', 'unauthenticated', 'forbidden', 'not_found', 'conflict', 'exhausted', 'unavailable', 'internal'];

/** The error of an answer whose body is or is not a problem by RFC 9457: a proxy in between may answer anything. */
export function problemOf(response: Response, body: unknown): ApiError {
  const p = typeof body === 'object' && body !== null ? (body as Record<string, unknown>) : {};
  const code = typeof p['code'] === 'string' && codes.includes(p['code']) ? (p['code'] as Code) : byStatus(response.status);
  const detail = typeof p['detail'] === 'string' && p['detail'] !== '' ? p['detail'] : `The hub answered with status ${response.status}.`;
  const wait = Number(response.headers.get('Retry-After'));
  return new ApiError(code, response.status, sentence(detail), wait > 0 && wait < 3600 ? wait : 0);
}

function byStatus(status: number): Code {
  switch (status) {
    case 401: return 'unauthenticated';
    case 403: return 'forbidden';
    case 404: return 'not_found';
    case 409: return 'conflict';
    case 429: return 'exhausted';
    case 502: case 503: case 504: return 'unavailable';
  }
  return status >= 500 ? 'internal' : 'invalid';
}

/** What a throw of fetch or of ours means. */
export function errorOf(e: unknown): ApiError {
  if (e instanceof ApiError) return e;
  if (e instanceof DOMException && e.name === 'TimeoutError') return new ApiError('offline', 0, 'The hub took too long to answer.');
  if (e instanceof TypeError) return new ApiError('offline', 0, 'The hub cannot be reached.');
  return new ApiError('internal', 0, e instanceof Error ? sentence(e.message) : 'Something failed.');
}

/** The hub's details are clauses; here they stand alone. */
function sentence(s: string): string {
  const t = s.trim().replace(/^body\.(\w+): /, (_, f: string) => f.replaceAll('_', ' ') + ': ');
  const upper = t.charAt(0).toUpperCase() + t.slice(1);
  return /[.!?]$/.test(upper) ? upper : upper + '.';
}
