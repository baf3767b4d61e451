// The one way to the hub. Everything here either returns what was asked for or throws an ApiError.

import createClient from 'openapi-fetch';
import { decodeColumns, type Columns } from './columns';
import { errorOf, problemOf } from './problem';
import type { components, paths } from './schema';

type Schemas = components['schemas'];
export type User = Schemas['User'];
export type Session = Schemas['Session'];
export type Project = Schemas['Project'];
export type Location = Schemas['Location'];
export type Element = Schemas['Element'];
export type Latest = Schemas['Latest'];
export type Member = Schemas['Member'];
export type Factors = Schemas['Factors'];
export type FactorNeed = Schemas['FactorNeed'];
export type LogInAnswer = Schemas['LogIn'];
export type Account = Schemas['Account'];
export type Link = Schemas['Link'];
export type LoggedIn = Schemas['LoggedIn'];
export type Pairing = Schemas['Pairing'];
/** battery is null for a device that measures none; OpenAPI cannot say so beside a reference. */
export type Device = Omit<Schemas['Device'], 'battery'> & { battery: Schemas['Reading'] | null };

const timeout = 30_000;

/** What the hub's clock is ahead of this browser's, in ms, to about a second. */
let hubAhead = 0;
export function hubNow(): number {
  return Date.now() + hubAhead;
}

function noteDate(r: Response): void {
  const date = Date.parse(r.headers.get('Date') ?? '');
  // The header has whole seconds and is some time old, so only a difference that matters is believed.
  if (Number.isFinite(date)) hubAhead = Math.abs(date - Date.now()) > 5000 ? date - Date.now() : 0;
}

/** Called when the hub no longer knows who asks. */
let ended: () => void = () => {};
export function onEnded(f: () => void): void {
  ended = f;
}

async function send(request: Request): Promise<Response> {
  const limit = AbortSignal.timeout(timeout);
  const response = await fetch(request, { signal: AbortSignal.any([request.signal, limit]) });
  noteDate(response);
  if (response.status === 401 && !(request.method === 'POST' && request.url.endsWith('/api/v1/session'))) ended();
  return response;
}

export const api = createClient<paths>({ fetch: send });

/** Waits for an answer of api: `await ask(api.GET('/api/v1/projects'))`. */
export async function ask<T>(answer: Promise<{ data?: T; error?: unknown; response: Response }>): Promise<T> {
  try {
    const { data, error, response } = await answer;
    if (!response.ok) throw problemOf(response, error);
    return data as T;
  } catch (e) {
    throw errorOf(e);
  }
}

export interface SeriesQuestion {
  project: string;
  elements: readonly string[];
  from: number;
  to: number;
  points: number;
}

/** How many elements one question may name. */
const perQuestion = 50;

function seriesUrl(q: SeriesQuestion, format: 'columns' | 'csv'): string {
  const p = new URLSearchParams({ elements: q.elements.join(','), from: String(Math.floor(q.from)), to: String(Math.ceil(q.to)), points: String(q.points), format });
  return `/api/v1/projects/${encodeURIComponent(q.project)}/series?${p}`;
}

/** Where every sample of a range can be had as CSV. */
export function csvUrl(q: Omit<SeriesQuestion, 'points'>): string {
  return seriesUrl({ ...q, points: 0 }, 'csv');
}

export async function readSeries(q: SeriesQuestion, signal: AbortSignal): Promise<Columns[]> {
  try {
    const out: Columns[] = [];
    for (let i = 0; i < q.elements.length; i += perQuestion) {
      const url = seriesUrl({ ...q, elements: q.elements.slice(i, i + perQuestion) }, 'columns');
      const response = await send(new Request(url, { signal, headers: { Accept: 'application/vnd.loggerhead.columns' } }));
      if (!response.ok) throw problemOf(response, await response.json().catch(() => undefined));
      out.push(...decodeColumns(await response.arrayBuffer()));
    }
    return out;
  } catch (e) {
    throw errorOf(e);
  }
}
