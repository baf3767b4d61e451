import { describe, expect, it } from 'vitest';
import { increases } from './counter';
import type { Trace } from './plot';

const h = 3600_000;
const day = 24 * h;
const hour = { ms: h };

function counter(points: [number, number][], gaps: [number, number][] = []): Trace {
  return { id: 'e', intervalMs: 60_000, reduced: false, count: points.length, through: 0, times: points.map((p) => p[0]), values: points.map((p) => p[1]), flags: points.map(() => 1), gaps };
}

describe('increases', () => {
  it('is what the counter grew by in each step, and not where it stands', () => {
    const r = increases(counter([[0, 100], [0.5 * h, 101], [h, 101], [1.5 * h, 104]]), 'UTC', 0, day, hour);
    expect(r.starts).toEqual([0, h]);
    expect(r.ends).toEqual([h, 2 * h]);
    expect(r.amounts).toEqual([1, 3]);
    expect(r.total).toBe(4);
    expect(r.complete).toBe(true);
  });

  it('takes any drop for a reset, from which it began at 0', () => {
    const r = increases(counter([[0, 100], [1, 102], [2, 3], [3, 5]]), 'UTC', 0, day, hour);
    expect(r.total).toBe(2 + 3 + 2);
  });

  it('says that it is incomplete where it grew over a gap, also where the gap ends between points', () => {
    const r = increases(counter([[0, 1], [h, 2], [5 * h, 4], [6 * h, 4]], [[1.2 * h, 4.8 * h]]), 'UTC', 0, day, hour);
    expect(r.total).toBe(3);
    expect(r.complete).toBe(false);
    expect(r.incomplete).toEqual([false, false, true, false]);
  });

  it('loses nothing over a gap in which it stood still', () => {
    expect(increases(counter([[0, 1], [5 * h, 1], [6 * h, 2]], [[0, 5 * h]]), 'UTC', 0, day, hour).complete).toBe(true);
  });

  it('is incomplete where a reset hides in a gap, even one to 0', () => {
    expect(increases(counter([[0, 1], [5 * h, 0]], [[0, 5 * h]]), 'UTC', 0, day, hour).complete).toBe(false);
  });

  it('leaves out what was gained before the range', () => {
    const r = increases(counter([[0, 0], [2 * h, 50], [2.5 * h, 51]]), 'UTC', 2 * h, day, hour);
    expect(r.total).toBe(1);
  });

  it('cuts days where the zone does: 25 hours in October', () => {
    const midnight = Date.UTC(2026, 9, 24, 22); // 25 October, 00:00 in Copenhagen
    const r = increases(counter([[midnight, 0], [midnight + 24.5 * h, 2], [midnight + 25.5 * h, 5]]), 'Europe/Copenhagen', 0, 9e15, { ms: day, days: 1 });
    expect(r.starts).toEqual([midnight, midnight + 25 * h]);
    expect(r.amounts).toEqual([2, 3]);
  });

  it('of nothing is nothing', () => {
    expect(increases(counter([]), 'UTC', 0, 1, hour)).toMatchObject({ starts: [], total: 0, complete: true });
  });
});
