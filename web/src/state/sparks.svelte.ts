// The small series beside a device's values: a day of them, or what came last of one whose data are older.

import { readSeries } from '../api/client';
import { extend, traceOf, type Sample, type Trace } from '../lib/plot';
import { clock } from './clock.svelte';
import { project } from './project.svelte';

const day = 24 * 3600_000;
const points = 160;
/** How long a trace grows by live samples until it is read anew. */
const fresh = 5 * 60_000;

export class Sparks {
  traces: Map<string, Trace> = $state.raw(new Map());
  version = $state(0);

  #device: string;
  #abort = new AbortController();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #stop: () => void;

  constructor(device: string) {
    this.#device = device;
    this.#stop = project.listen((s) => this.#sample(s));
    void this.#read();
  }

  close(): void {
    this.#stop();
    this.#abort.abort();
    clearTimeout(this.#timer);
  }

  async #read(): Promise<void> {
    const now = clock.now;
    const recent: string[] = [];
    const old: { id: string; time: number; interval: number }[] = [];
    for (const e of project.elementsOf(this.#device)) {
      const l = project.latest.get(e.id);
      if (!l) continue;
      if (l.time > now - day) recent.push(e.id);
      else old.push({ id: e.id, time: l.time, interval: e.interval_ms || 60_000 });
    }
    const of = (elements: string[], from: number, to: number) =>
      elements.length > 0 ? readSeries({ project: project.id, elements, from, to, points }, this.#abort.signal) : [];
    const started = Date.now();
    try {
      const answers = await Promise.all([
        of(recent, now - day, now + 10 * 60_000),
        of(old.map((o) => o.id), Math.min(...old.map((o) => o.time - 200 * o.interval)), Math.max(...old.map((o) => o.time)) + 1),
      ]);
      if (this.#abort.signal.aborted) return;
      const traces = new Map(answers.flat().map((c) => [c.id, traceOf(c, project.latest.get(c.id)?.time)]));
      for (const s of project.since(started)) {
        const t = traces.get(s.element_id);
        if (t) extend(t, s);
      }
      this.traces = traces;
    } catch {
      // They are decoration: the values beside them say what went wrong, if the hub is out of reach.
    }
    if (!this.#abort.signal.aborted) this.#timer = setTimeout(() => void this.#read(), fresh);
  }

  #sample(s: Sample): void {
    const t = this.traces.get(s.element_id);
    if (t && s.time < clock.now + 10 * 60_000 && extend(t, s) !== 'late') this.version++;
  }
}
