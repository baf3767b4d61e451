// The series of one device's charts: asked for at the width of the screen, kept up by live samples, read anew when the
// hub knows more than is here.

import { hubNow, readSeries } from '../api/client';
import { errorOf, type ApiError } from '../api/problem';
import { extend, traceOf, type Sample, type Trace } from '../lib/plot';
import { earliest, extentOf, latest, type Range } from '../lib/range';
import { project } from './project.svelte';

/** So far ahead of the hub's clock a live sample may be; what is more has a wrong clock and would squeeze the rest. */
const ahead = 10 * 60_000;

/** A reading because of late or skipped samples follows the last one after so many ms at the earliest. */
const rereadAfter = 2000;

export interface Question {
  project: string;
  elements: readonly { id: string; interval_ms: number }[];
  range: Range;
  window: { from: number; to: number };
  /** CSS pixels of the charts. */
  width: number;
}

export class SeriesState {
  /** By element id. Replaced as a whole by an answer; grown in place by live samples. */
  traces: Map<string, Trace> = $state.raw(new Map());
  /** Grows when traces have grown in place. */
  version = $state(0);
  /** What the traces answer; undefined before the first answer. */
  answered: Question | undefined = $state.raw();
  error: ApiError | undefined = $state.raw();
  /** Since when an answer is awaited, by the browser's clock; 0 is not. */
  waiting = $state(0);

  #asked: Question | undefined;
  #abort: AbortController | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #readAt = 0;
  #grown = 0;
  #frame = 0;
  #stop: () => void;

  constructor() {
    this.#stop = project.listen((s) => this.#sample(s));
  }

  close(): void {
    this.#stop();
    this.#abort?.abort();
    clearTimeout(this.#timer);
    cancelAnimationFrame(this.#frame);
  }

  /** Asks; an answer that is still awaited is given up. */
  ask(q: Question): void {
    this.#asked = q;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    void this.#read(q);
  }

  retry(): void {
    if (this.#asked) this.ask(this.#asked);
  }

  async #read(q: Question): Promise<void> {
    this.#abort?.abort();
    const abort = (this.#abort = new AbortController());
    const started = Date.now();
    this.waiting ||= started;
    try {
      const { from, to, points } = bounds(q);
      const question = { project: q.project, elements: q.elements.map((e) => e.id), from, to, points };
      let columns = await readSeries(question, abort.signal);
      if (abort.signal.aborted) return;
      // The hub spreads its points over all that there is. A few samples of a clock that was wrong by decades would
      // leave the rest with next to none: then ask again for the rest.
      const good = q.range.kind === 'all' ? extentOf(columns) : undefined;
      if (good && columns.some((c) => c.reduced && (c.times[0]! < good.from || c.times[c.times.length - 1]! > good.to))) {
        columns = await readSeries({ ...question, from: good.from, to: good.to + 1 }, abort.signal);
        if (abort.signal.aborted) return;
      }
      const newest = (id: string): number => {
        const t = project.latest.get(id)?.time ?? -Infinity;
        return q.range.kind !== 'fixed' || t < to ? t : -Infinity;
      };
      const traces = new Map(columns.map((c) => [c.id, traceOf(c, newest(c.id))]));
      // What came in while the answer was on its way. Late ones among them are in it, or in the next.
      for (const s of project.since(started)) {
        const t = traces.get(s.element_id);
        if (t && belongs(s, q)) extend(t, s);
      }
      this.traces = traces;
      this.answered = q;
      this.error = undefined;
      this.#grown = 0;
    } catch (e) {
      if (abort.signal.aborted) return;
      this.error = errorOf(e);
    }
    this.#readAt = Date.now();
    this.waiting = 0;
  }

  #sample(s: Sample): void {
    const t = this.traces.get(s.element_id);
    const q = this.answered;
    if (!t || !q || !belongs(s, q)) return;
    const how = extend(t, s);
    this.#grown++;
    if (how !== 'added') this.#rereadSoon(rereadAfter);
    // More than the pixels can show: let the hub reduce it again.
    else if (this.#grown > q.width * q.elements.length) this.#rereadSoon(15_000);
    if (this.#frame === 0) {
      this.#frame = requestAnimationFrame(() => {
        this.#frame = 0;
        this.version++;
      });
    }
  }

  #rereadSoon(after: number): void {
    if (this.#timer !== undefined) return;
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined;
        if (this.#asked && this.waiting === 0) void this.#read(this.#asked);
      },
      Math.max(this.#readAt + after - Date.now(), 200),
    );
  }
}

function belongs(s: Sample, q: Question): boolean {
  return q.range.kind === 'fixed' ? s.time < bounds(q).to : s.time < hubNow() + ahead;
}

/**
 * What to ask the hub for. A fixed range is asked for with a little before and after it, so that a line comes from
 * beyond the edge instead of beginning within; points grow by as much.
 */
function bounds(q: Question): { from: number; to: number; points: number } {
  const points = Math.round(2 * Math.min(Math.max(q.width, 50), 8000));
  if (q.range.kind === 'all') return { from: earliest, to: latest, points };
  const { from, to } = q.window;
  const span = to - from;
  const interval = Math.max(...q.elements.map((e) => e.interval_ms), 0);
  const pad = Math.min(2.5 * interval, span);
  if (q.range.kind === 'last') return { from: Math.max(from - pad, earliest), to: to + ahead, points };
  return { from: Math.max(from - pad, earliest), to: Math.min(to + pad, latest), points: Math.round((points * (span + 2 * pad)) / span) };
}
