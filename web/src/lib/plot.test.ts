import { describe, expect, it } from 'vitest';
import { align, extend, extent, lonely, lowerBound, traceOf, type Trace } from './plot';

function trace(times: number[], gaps: [number, number][] = [], intervalMs = 10): Trace {
  return { id: 'e', intervalMs, reduced: false, count: times.length, through: times.at(-1) ?? -Infinity, times, values: times.map((t) => t * 2), flags: times.map(() => 1), gaps };
}

describe('align', () => {
  it('puts a null into the middle of every gap, and nowhere else', () => {
    const { xs, ys } = align([trace([0, 10, 110, 120, 520], [[10, 110], [120, 520]])]);
    expect(xs).toEqual([0, 10, 60, 110, 120, 320, 520]);
    expect(ys[0]).toEqual([0, 20, null, 220, 240, null, 1040]);
  });

  it('breaks where a gap lies between the points that are left of a reduced series', () => {
    // The samples beside the gap, 40 and 90, were neither least nor greatest.
    const { xs, ys } = align([trace([0, 30, 100, 130], [[40, 90]])]);
    expect(xs).toEqual([0, 30, 65, 100, 130]);
    expect(ys[0]).toEqual([0, 60, null, 200, 260]);
  });

  it('makes one break of several gaps between two points, and none beyond the ends', () => {
    const { ys } = align([trace([100, 200], [[0, 50], [110, 140], [150, 190], [250, 300]])]);
    expect(ys[0]!.filter((y) => y === null).length).toBeGreaterThan(0);
    expect(ys[0]![0]).toBe(200);
    expect(ys[0]!.at(-1)).toBe(400);
  });

  it('leaves gaps alone that are narrower than what can be drawn', () => {
    expect(align([trace([0, 10, 40, 50], [[10, 40]])], 31).ys[0]).toEqual([0, 20, 80, 100]);
    expect(align([trace([0, 10, 40, 50], [[10, 40]])], 30).ys[0]).toContain(null);
  });

  it('lets the line of one pass the times of another', () => {
    const { xs, ys } = align([trace([0, 20]), trace([10, 20, 30], [[20, 30]])]);
    expect(xs).toEqual([0, 10, 20, 25, 30]);
    expect(ys[0]).toEqual([0, undefined, 40, undefined, undefined]);
    expect(ys[1]).toEqual([undefined, 20, 40, null, 60]);
  });

  it('of nothing is nothing', () => {
    expect(align([])).toEqual({ xs: [], ys: [] });
    expect(align([trace([])])).toEqual({ xs: [], ys: [[]] });
  });
});

describe('extend', () => {
  const s = (time: number, value = 1, flag = 1) => ({ element_id: 'e', time, value, flag });

  it('adds behind, replaces at the same time, and leaves what is late to the hub', () => {
    const t = trace([0, 10]);
    expect(extend(t, s(20, 7, 3))).toBe('added');
    expect(t.times).toEqual([0, 10, 20]);
    expect(t.flags[2]).toBe(3);
    expect(extend(t, s(20, 8))).toBe('added');
    expect(t.values[2]).toBe(8);
    expect(t.count).toBe(3);
    expect(extend(t, s(15))).toBe('late');
    expect(t.times).toEqual([0, 10, 20]);
  });

  it('finds a gap by the rule of the hub: more than two and a half intervals', () => {
    const t = trace([0]);
    expect(extend(t, s(25))).toBe('added');
    expect(extend(t, s(51))).toBe('gap');
    expect(t.gaps).toEqual([[25, 51]]);
  });

  it('knows no gap without an interval', () => {
    const t = trace([0], [], 0);
    expect(extend(t, s(1e9))).toBe('added');
  });

  it('does not take the last point of a reduced series for its last sample', () => {
    const t = traceOf({ id: 'e', reduced: true, intervalMs: 10, count: 100, times: new Float64Array([0, 900]), values: new Float64Array(2), flags: new Uint8Array(2), gaps: new Float64Array() }, 990);
    expect(extend(t, s(1000))).toBe('added');
    expect(t.gaps).toEqual([]);
  });
});

describe('lonely', () => {
  it('finds points that no line joins', () => {
    expect(lonely([1, null, 2, 3, null, 4, undefined, null, 5])).toEqual([0, 5, 8]);
    expect(lonely([1, undefined, 2])).toEqual([]);
    expect(lonely([])).toEqual([]);
  });
});

describe('extent', () => {
  it('is of what can be seen', () => {
    const t = trace([0, 10, 20, 30, 40], [[20, 30]]);
    expect(extent(t, 5, 35)).toEqual({ least: 20, greatest: 60, gaps: 1 });
    expect(extent(t, 30, 40)).toEqual({ least: 60, greatest: 80, gaps: 0 });
    expect(extent(t, 41, 50)).toBeUndefined();
  });
});

describe('lowerBound', () => {
  it('is the first not below', () => {
    expect([0, 1, 2, 3, 4].map((x) => lowerBound([1, 3], x))).toEqual([0, 0, 1, 1, 2]);
  });
});
