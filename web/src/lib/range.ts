// The range of time that charts show. It lives in the address, so that a page can be kept, sent and gone back to.

export type Preset = '15m' | '1h' | '24h' | '7d' | '30d' | '1y';

/** last: ends now and moves on; fixed: stands still; all: whatever there is. */
export type Range = { kind: 'last'; preset: Preset } | { kind: 'fixed'; from: number; to: number } | { kind: 'all' };

const hour = 3600_000;
const day = 24 * hour;

export const presets: Record<Preset, { ms: number; short: string }> = {
  '15m': { ms: hour / 4, short: '15 min' },
  '1h': { ms: hour, short: '1 h' },
  '24h': { ms: day, short: '24 h' },
  '7d': { ms: 7 * day, short: '7 d' },
  '30d': { ms: 30 * day, short: '30 d' },
  '1y': { ms: 365 * day, short: '1 y' },
};
export const presetNames = Object.keys(presets) as Preset[];

/** The instants the API knows: years 0001 to 9999. */
export const earliest = -62135596800000;
export const latest = 253402300799999;
const minSpan = 100;

/** The range of an address, or undefined where it names none that makes sense. */
export function parseRange(q: URLSearchParams): Range | undefined {
  if (q.has('all')) return { kind: 'all' };
  const last = q.get('last');
  if (last !== null && Object.hasOwn(presets, last)) return { kind: 'last', preset: last as Preset };
  const from = instant(q.get('from'));
  const to = instant(q.get('to'));
  if (from === undefined || to === undefined || to - from < minSpan) return undefined;
  return { kind: 'fixed', from, to };
}

function instant(s: string | null): number | undefined {
  if (s === null || !/^-?\d{1,15}$/.test(s)) return undefined;
  const n = Number(s);
  return n >= earliest && n <= latest ? n : undefined;
}

export function rangeQuery(r: Range): string {
  switch (r.kind) {
    case 'all':
      return '?all';
    case 'last':
      return `?last=${r.preset}`;
    case 'fixed':
      return `?from=${r.from}&to=${r.to}`;
  }
}

/** A fixed range of whole ms, at least minSpan long, within what the API knows. */
export function fixed(from: number, to: number): Range {
  let span = Math.min(Math.max(to - from, minSpan), latest - earliest);
  const middle = (from + to) / 2;
  const start = Math.min(Math.max(middle - span / 2, earliest), latest - span);
  const f = Math.round(start);
  return { kind: 'fixed', from: f, to: Math.min(Math.round(start + span), latest) };
}

/** The window moved by a part of its span. */
export function panned(from: number, to: number, part: number): Range {
  const d = (to - from) * part;
  return fixed(from + d, to + d);
}

/** The window grown (factor above 1) or narrowed about a point within it. */
export function zoomed(from: number, to: number, factor: number, about = (from + to) / 2): Range {
  return fixed(about - (about - from) * factor, about + (to - about) * factor);
}

/** What the range is in instants. extent is of the data, where it is known. */
export function windowOf(r: Range, now: number, extent?: { from: number; to: number }): { from: number; to: number } {
  switch (r.kind) {
    case 'fixed':
      return { from: r.from, to: r.to };
    case 'last':
      return { from: now - presets[r.preset].ms, to: now };
    case 'all': {
      if (!extent) return { from: now - day, to: now };
      const pad = Math.max((extent.to - extent.from) * 0.02, 1000);
      return { from: Math.max(extent.from - pad, earliest), to: Math.min(extent.to + pad, latest) };
    }
  }
}

/** The extent of series, by their unflagged samples where there are any: one sample of 1970 shall not stretch a chart. */
export function extentOf(traces: readonly { times: ArrayLike<number>; flags: ArrayLike<number> }[]): { from: number; to: number } | undefined {
  const within = (good: boolean): { from: number; to: number } | undefined => {
    let from = Infinity;
    let to = -Infinity;
    for (const t of traces) {
      const ok = (i: number): boolean => !good || t.flags[i]! < 3;
      let i = 0;
      while (i < t.times.length && !ok(i)) i++;
      if (i === t.times.length) continue;
      let j = t.times.length - 1;
      while (!ok(j)) j--;
      from = Math.min(from, t.times[i]!);
      to = Math.max(to, t.times[j]!);
    }
    return from <= to ? { from, to } : undefined;
  };
  return within(true) ?? within(false);
}

export interface Newest {
  time: number;
  intervalMs: number;
}

/**
 * The range a device's page opens with: one that shows data. Where most elements have new data it is a moving one, the
 * shortest that holds what the device sent since it began (first, where that is known); else what there is.
 */
export function openingRange(newest: readonly Newest[], now: number, first?: number): Range {
  const recent = newest.filter((n) => n.time > now - day && n.time < now + hour);
  if (newest.length === 0 || recent.length * 2 >= newest.length) {
    const age = first === undefined ? day : now - first;
    return { kind: 'last', preset: age < presets['15m'].ms ? '15m' : age < hour ? '1h' : '24h' };
  }
  if (recent.length === 0) return { kind: 'all' };
  const old = newest.filter((n) => n.time <= now - day).sort((a, b) => b.time - a.time)[0]!;
  return newestRange(old);
}

/** A range that ends with an element's newest sample and holds a hundred or so before it. */
export function newestRange(n: Newest): Range {
  const want = 100 * n.intervalMs;
  const span = presetNames.map((p) => presets[p].ms).find((ms) => ms >= want && ms >= hour) ?? presets['1y'].ms;
  return fixed(n.time - span, n.time + span / 50);
}
