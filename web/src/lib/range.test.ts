import { describe, expect, it } from 'vitest';
import { earliest, extentOf, fixed, latest, newestRange, openingRange, panned, parseRange, presetNames, presets, rangeQuery, windowOf, zoomed, type Range } from './range';

const h = 3600_000;
const day = 24 * h;
const now = Date.UTC(2026, 10, 24, 16);
const parse = (s: string): Range | undefined => parseRange(new URLSearchParams(s));

describe('the range in the address', () => {
  it('comes back as it was written', () => {
    const ranges: Range[] = [{ kind: 'all' }, { kind: 'fixed', from: -5000, to: 1e12 }, ...presetNames.map((preset) => ({ kind: 'last', preset }) as Range)];
    for (const r of ranges) expect(parse(rangeQuery(r))).toEqual(r);
  });
  it('is none where the address makes no sense', () => {
    for (const s of ['', '?last=2h', '?last=__proto__', '?last=toString', '?from=1', '?from=5&to=5', '?from=9&to=1', '?from=1e3&to=2e9', '?from=0x1&to=999999',
      '?from=NaN&to=1', '?from=&to=5000', '?from=1&to=99999999999999999999', `?from=0&to=${latest + 1}`, `?from=${earliest - 1}&to=0`]) expect(parse(s), s).toBeUndefined();
  });
});

describe('moving about', () => {
  it('pans by a part of the span and keeps it', () => {
    expect(panned(0, 1000, 0.25)).toEqual({ kind: 'fixed', from: 250, to: 1250 });
  });
  it('zooms about a point that stays where it is', () => {
    const r = zoomed(0, 10_000, 0.5, 2000);
    expect(r).toEqual({ kind: 'fixed', from: 1000, to: 6000 });
    expect(zoomed(1000, 6000, 2, 2000)).toEqual({ kind: 'fixed', from: 0, to: 10_000 });
  });
  it('stays within what the hub takes, however often', () => {
    let r = fixed(0, day);
    for (let i = 0; i < 100; i++) r = r.kind === 'fixed' ? zoomed(r.from, r.to, 2) : r;
    expect(r).toEqual({ kind: 'fixed', from: earliest, to: latest });
    expect(parse(rangeQuery(r))).toEqual(r);
    for (let i = 0; i < 200; i++) r = r.kind === 'fixed' ? zoomed(r.from, r.to, 0.5) : r;
    expect(r.kind === 'fixed' && r.to - r.from).toBe(100);
    expect(panned(earliest, earliest + 1000, -3)).toEqual({ kind: 'fixed', from: earliest, to: earliest + 1000 });
    expect(panned(latest - 1000, latest, 3)).toEqual({ kind: 'fixed', from: latest - 1000, to: latest });
  });
});

describe('windowOf', () => {
  it('moves with now, stands still, or holds all there is', () => {
    expect(windowOf({ kind: 'last', preset: '1h' }, now)).toEqual({ from: now - h, to: now });
    expect(windowOf({ kind: 'fixed', from: 1, to: 2000 }, now)).toEqual({ from: 1, to: 2000 });
    const all = windowOf({ kind: 'all' }, now, { from: 1e12, to: 1e12 + 100 * day });
    expect(all.from).toBeLessThan(1e12);
    expect(all.to).toBeGreaterThan(1e12 + 100 * day);
    expect(windowOf({ kind: 'all' }, now, { from: 5, to: 5 }).to).toBeGreaterThan(5);
    expect(windowOf({ kind: 'all' }, now).to).toBe(now);
  });
});

describe('extentOf', () => {
  it('does not let a flagged sample of 1970 stretch it', () => {
    expect(extentOf([{ times: [1, 1000, 2000, 9e12], flags: [3, 1, 2, 4] }, { times: [1500], flags: [1] }])).toEqual({ from: 1000, to: 2000 });
  });
  it('takes flagged ones where there are no others, and is none of nothing', () => {
    expect(extentOf([{ times: [1, 5], flags: [3, 3] }])).toEqual({ from: 1, to: 5 });
    expect(extentOf([{ times: [], flags: [] }])).toBeUndefined();
  });
});

describe('openingRange', () => {
  const at = (time: number, intervalMs = 60_000) => ({ time, intervalMs });
  const shows = (r: Range, t: number, extent = { from: t, to: t }): boolean => {
    const w = windowOf(r, now, extent);
    return t >= w.from && t <= w.to;
  };

  it('is a day of a device with new data, or less of one that has just begun', () => {
    expect(openingRange([at(now - 1000)], now)).toEqual({ kind: 'last', preset: '24h' });
    expect(openingRange([at(now)], now, now - 3 * day)).toEqual({ kind: 'last', preset: '24h' });
    expect(openingRange([at(now)], now, now - 30 * 60_000)).toEqual({ kind: 'last', preset: '1h' });
    expect(openingRange([at(now)], now, now - 40_000)).toEqual({ kind: 'last', preset: '15m' });
  });
  it('always shows the newest of most elements, however old', () => {
    const y2012 = Date.UTC(2012, 4, 1, 4);
    expect(openingRange([at(y2012, day), at(y2012, day)], now)).toEqual({ kind: 'all' });
    for (const newest of [[at(y2012, day)], [at(y2012, day), at(y2012, 0), at(now)], [at(now - 2 * day)]]) {
      const r = openingRange(newest, now);
      expect(shows(r, newest[0]!.time), JSON.stringify(r)).toBe(true);
    }
  });
  it('has one for a device without data', () => {
    expect(openingRange([], now).kind).toBe('last');
  });
  it('ends at an element’s newest sample with a hundred or so before it', () => {
    const r = newestRange(at(now - 400 * day, day));
    expect(r.kind === 'fixed' && r.to - r.from).toBeGreaterThanOrEqual(100 * day);
    expect(newestRange(at(now, 0))).toMatchObject({ kind: 'fixed' });
    expect(Object.keys(presets)).toHaveLength(6);
  });
});
