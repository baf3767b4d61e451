// From answers and live samples to what a chart draws. Gaps become nulls, at which the chart breaks its line.

import type { Columns } from '../api/columns';

export interface Sample {
  element_id: string;
  time: number;
  value: number;
  flag: number;
}

/** What is drawn of one element: arrays of one length, times ascending; it grows by live samples. */
export interface Trace {
  id: string;
  intervalMs: number;
  reduced: boolean;
  count: number;
  /** The newest sample the hub has counted in; a reduced trace may not show it. */
  through: number;
  times: number[];
  values: number[];
  flags: number[];
  /** Times of the samples before and after, ascending. */
  gaps: [number, number][];
}

/** newest is the time of the newest sample that the answer covers, where that is known: of a reduced answer it is no point. */
export function traceOf(c: Columns, newest = -Infinity): Trace {
  const gaps: [number, number][] = [];
  for (let i = 0; i + 1 < c.gaps.length; i += 2) gaps.push([c.gaps[i]!, c.gaps[i + 1]!]);
  return { id: c.id, intervalMs: c.intervalMs, reduced: c.reduced, count: c.count, through: Math.max(newest, c.times[c.times.length - 1] ?? -Infinity), times: [...c.times], values: [...c.values], flags: [...c.flags], gaps };
}

/** A distance beyond so many expected intervals is a gap, as the hub counts. */
const gapFactor = 2.5;

/**
 * Adds a live sample. "late" says that it belongs before others and was not added, "gap" that it was added behind a
 * gap; in both cases the hub may know samples that this trace does not, so it should be read anew.
 */
export function extend(t: Trace, s: Sample): 'added' | 'gap' | 'late' {
  const n = t.times.length;
  const last = n > 0 ? t.times[n - 1]! : -Infinity;
  if (s.time < last) return 'late';
  if (s.time === last) {
    t.values[n - 1] = s.value;
    t.flags[n - 1] = s.flag;
    return 'added';
  }
  const gap = t.intervalMs > 0 && t.through > -Infinity && s.time - t.through > gapFactor * t.intervalMs;
  if (gap) t.gaps.push([t.through, s.time]);
  t.through = Math.max(t.through, s.time);
  t.times.push(s.time);
  t.values.push(s.value);
  t.flags.push(s.flag);
  t.count++;
  return gap ? 'gap' : 'added';
}

/** Value of a series at a time of another: undefined lets the line pass, null breaks it. */
export type Point = number | null | undefined;

export interface Aligned {
  xs: number[];
  ys: Point[][];
}

/**
 * Brings traces onto one list of times. Gaps shorter than least are not broken at: what is narrower than a pixel would
 * be drawn as a whole one, and a day of seconds would look like a comb.
 */
export function align(traces: readonly Trace[], least = 0): Aligned {
  const lists = traces.map((t) => withBreaks(t, least));
  const at = lists.map(() => 0);
  const xs: number[] = [];
  const ys: Point[][] = lists.map(() => []);
  for (;;) {
    let x = Infinity;
    for (let i = 0; i < lists.length; i++) x = Math.min(x, lists[i]!.times[at[i]!] ?? Infinity);
    if (x === Infinity) return { xs, ys };
    xs.push(x);
    for (let i = 0; i < lists.length; i++) {
      const l = lists[i]!;
      const here = l.times[at[i]!] === x;
      ys[i]!.push(here ? l.values[at[i]!] : undefined);
      if (here) at[i]!++;
    }
  }
}

/** The trace's points with a null in the middle of every gap. */
function withBreaks(t: Trace, least: number): { times: number[]; values: (number | null)[] } {
  if (t.gaps.length === 0) return t;
  const times: number[] = [];
  const values: (number | null)[] = [];
  let g = 0;
  for (let i = 0; i < t.times.length; i++) {
    const x = t.times[i]!;
    for (; g < t.gaps.length; g++) {
      const [before, after] = t.gaps[g]!;
      if (before >= x) break;
      // No sample lies within a gap, so its middle is before x exactly when all of it is.
      const middle = before + (after - before) / 2;
      if (middle >= x) break;
      if (after - before >= least && times.length > 0 && middle > times[times.length - 1]!) {
        times.push(middle);
        values.push(null);
      }
    }
    times.push(x);
    values.push(t.values[i]!);
  }
  return { times, values };
}

/** Indexes into ys that stand alone between breaks or are marked: they get a dot of their own. */
export function lonely(y: readonly Point[]): number[] {
  const out: number[] = [];
  let run = 0;
  let last = -1;
  for (let i = 0; i <= y.length; i++) {
    const v = i < y.length ? y[i] : null;
    if (typeof v === 'number') {
      run++;
      last = i;
    } else if (v === null) {
      if (run === 1) out.push(last);
      run = 0;
    }
  }
  return out;
}

/** Least and greatest value of the trace within [from, to], and how many gaps begin there. */
export function extent(t: Trace, from: number, to: number): { least: number; greatest: number; gaps: number } | undefined {
  let least = Infinity;
  let greatest = -Infinity;
  for (let i = lowerBound(t.times, from); i < t.times.length && t.times[i]! <= to; i++) {
    least = Math.min(least, t.values[i]!);
    greatest = Math.max(greatest, t.values[i]!);
  }
  if (least > greatest) return undefined;
  return { least, greatest, gaps: t.gaps.filter(([b, a]) => a > from && b < to).length };
}

/** Index of the first element that is not below x. */
export function lowerBound(a: readonly number[], x: number): number {
  let lo = 0;
  let hi = a.length;
  while (lo < hi) {
    const mid = (lo + hi) >> 1;
    if (a[mid]! < x) lo = mid + 1;
    else hi = mid;
  }
  return lo;
}
