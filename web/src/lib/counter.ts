// Counters (rain, energy): a running total is shown as how much it grew in each step of the calendar.

import { floorStep, nextStep, stepFor, type Step } from './zone';
import type { Trace } from './plot';

export interface Increases {
  /** Starts of the steps that have samples, ascending. */
  starts: number[];
  /** End of each step. */
  ends: number[];
  amounts: number[];
  /** It grew, or was reset, over a gap: some of the amount may belong to another step, or be lost. */
  incomplete: boolean[];
  total: number;
  complete: boolean;
}

const maxSteps = 5000;

/** The step of a counter's bars in a chart: at most 60 of them, none shorter than the counter is read. */
export function barStep(t: Trace, from: number, to: number): Step {
  return stepFor(to - from, Math.min(60, (to - from) / Math.max(t.intervalMs, 1000)));
}

/**
 * Sums the increases of a counter by steps of the zone's calendar, in [from, to]. A drop is a reset: the counter began
 * again at 0. A mean of a counter has no meaning, and neither has an increase before the first sample.
 */
export function increases(t: Trace, zone: string, from: number, to: number, step: Step): Increases {
  const out: Increases = { starts: [], ends: [], amounts: [], incomplete: [], total: 0, complete: true };
  let gap = 0;
  for (let i = 0; i < t.times.length; i++) {
    const x = t.times[i]!;
    if (x < from) continue;
    if (x > to) break;
    let k = out.starts.length - 1;
    if (k < 0 || x >= out.ends[k]!) {
      if (out.starts.length >= maxSteps) return { ...out, complete: false };
      const start = floorStep(zone, x, step);
      out.starts.push(start);
      out.ends.push(nextStep(zone, start, step));
      out.amounts.push(0);
      out.incomplete.push(false);
      k++;
    }
    if (i === 0) continue;
    const since = t.times[i - 1]!;
    while (gap < t.gaps.length && t.gaps[gap]![1] <= since) gap++;
    const acrossGap = gap < t.gaps.length && t.gaps[gap]![0] < x;
    const before = t.values[i - 1]!;
    const grown = t.values[i]! >= before ? t.values[i]! - before : t.values[i]!;
    // What a counter gained before the range does not count, but for the part of the first step.
    if (since < from && since < out.starts[k]!) continue;
    out.amounts[k]! += grown;
    out.total += grown;
    if (acrossGap && (grown > 0 || t.values[i]! < before)) {
      out.incomplete[k] = true;
      out.complete = false;
    }
  }
  return out;
}
