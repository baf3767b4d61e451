// The stream of live values. Read with fetch rather than EventSource: that tells nobody why it failed, and cannot see
// the hub's pings, so a connection that died in silence would look alive for ever.

import { problemOf, errorOf, ApiError } from './problem';
import { SseParser } from '../lib/sse';
import type { Sample } from '../lib/plot';

export interface DeviceState {
  id: string;
  online: boolean;
  last_seen: number;
}

export interface LiveHandlers {
  /** The stream is up: what happened before it began must be read. */
  open(): void;
  sample(s: Sample): void;
  device(d: DeviceState): void;
  /** Events were lost. */
  resync(): void;
  /** The stream is down and will be tried again. */
  down(why: ApiError): void;
  /** The hub refuses; it will not be tried again. */
  refused(why: ApiError): void;
}

/** The hub pings every 15 s; after two lost ones the connection counts as dead. */
const silence = 35_000;
const longestWait = 15_000;

/** Opens a project's stream and keeps it open until the returned function is called. */
export function openLive(project: string, on: LiveHandlers): () => void {
  const closed = new AbortController();
  const wake = new EventTarget();
  const nudge = (): void => {
    if (document.visibilityState === 'visible') wake.dispatchEvent(new Event('now'));
  };
  window.addEventListener('online', nudge, { signal: closed.signal });
  document.addEventListener('visibilitychange', nudge, { signal: closed.signal });

  const run = async (): Promise<void> => {
    for (let failures = 0; !closed.signal.aborted; failures++) {
      try {
        await once(project, on, closed.signal, () => (failures = 0));
        throw new ApiError('offline', 0, 'The hub ended the stream.');
      } catch (e) {
        if (closed.signal.aborted) return;
        const why = errorOf(e);
        if (why.code === 'unauthenticated' || why.code === 'forbidden' || why.code === 'not_found') return on.refused(why);
        on.down(why);
        const wait = Math.max(Math.min(500 * 2 ** failures, longestWait), why.retryAfter * 1000) * (0.75 + Math.random() / 2);
        await new Promise<void>((done) => {
          const timer = setTimeout(done, wait);
          const now = (): void => {
            clearTimeout(timer);
            done();
          };
          wake.addEventListener('now', now, { once: true });
          closed.signal.addEventListener('abort', now, { once: true });
        });
      }
    }
  };
  void run();
  return () => closed.abort();
}

async function once(project: string, on: LiveHandlers, closed: AbortSignal, up: () => void): Promise<void> {
  const silent = new AbortController();
  let watchdog = setTimeout(() => silent.abort(), silence);
  try {
    const response = await fetch(`/api/v1/projects/${encodeURIComponent(project)}/live`, {
      headers: { Accept: 'text/event-stream' },
      signal: AbortSignal.any([closed, silent.signal]),
    });
    if (!response.ok || !response.body) throw problemOf(response, await response.json().catch(() => undefined));
    up();
    on.open();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    const parser = new SseParser();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      clearTimeout(watchdog);
      watchdog = setTimeout(() => silent.abort(), silence);
      for (const e of parser.push(value)) tell(e.name, JSON.parse(e.data), on);
    }
  } catch (e) {
    if (silent.signal.aborted) throw new ApiError('offline', 0, 'The hub has fallen silent.');
    throw e;
  } finally {
    clearTimeout(watchdog);
  }
}

function tell(name: string, data: unknown, on: LiveHandlers): void {
  if (name === 'resync') return on.resync();
  if (typeof data !== 'object' || data === null) return;
  const d = data as Record<string, unknown>;
  if (name === 'sample') {
    const { element_id, time, value, flag } = d;
    if (typeof element_id === 'string' && typeof time === 'number' && typeof value === 'number' && typeof flag === 'number') {
      on.sample({ element_id, time, value, flag });
    }
  } else if (name === 'device') {
    const { id, online, last_seen } = d;
    if (typeof id === 'string' && typeof online === 'boolean' && typeof last_seen === 'number') on.device({ id, online, last_seen });
  } // a name of a newer hub is passed over
}
