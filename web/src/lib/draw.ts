// Makes and feeds a uPlot chart of lines, or of a counter's bars. Colours of axes and grid come from the page's style,
// so that a chart follows the scheme of the system.

import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { marked, number } from './format';
import type { Increases } from './counter';
import { align, lonely, type Aligned, type Trace } from './plot';
import { stepFor, tickLabels, ticks, type Step } from './zone';

export interface Line {
  trace: Trace | undefined;
  color: string;
  /** Dashes tell lines of one colour apart. */
  dash: number[];
  digits: number;
}

export interface Scene {
  lines: Line[];
  /** Of a counter, whose only line it replaces. */
  bars: Increases | undefined;
  counter: boolean;
  from: number;
  to: number;
  zone: string;
}

export interface Handlers {
  /** The time under the pointer, or undefined when it left. */
  point(time: number | undefined): void;
  select(from: number, to: number): void;
  out(): void;
}

/** Room for labels of the y axis: the same in every chart, so that their times stand under each other. */
const yAxis = 58;

export class Drawing {
  #u: uPlot;
  #scene: Scene;
  #width: number; // of the plot, in CSS pixels
  #aligned: Aligned = { xs: [], ys: [] };

  constructor(host: HTMLElement, scene: Scene, width: number, height: number, on: Handlers) {
    this.#scene = scene;
    this.#width = width - yAxis;
    this.#u = new uPlot(this.#options(scene, width, height, on), this.#data(), host);
  }

  destroy(): void {
    this.#u.destroy();
  }

  get over(): HTMLElement {
    return this.#u.over;
  }

  size(width: number, height: number): void {
    this.#width = width - yAxis;
    this.#u.setSize({ width, height });
  }

  update(scene: Scene): void {
    this.#scene = scene;
    this.#u.setData(this.#data(), false);
    this.#u.setScale('x', { min: scene.from, max: scene.to });
  }

  /** Moves the view at once, before any answer: a drag that lags is no drag. */
  view(from: number, to: number): void {
    this.#u.setScale('x', { min: from, max: to });
  }

  timeAt(x: number): number {
    return this.#u.posToVal(x, 'x');
  }

  #data(): uPlot.AlignedData {
    const { lines, counter, bars, from, to } = this.#scene;
    if (counter) {
      this.#aligned = { xs: bars?.starts ?? [], ys: [bars?.amounts ?? []] };
    } else {
      this.#aligned = align(lines.map((l) => l.trace ?? nothing), (to - from) / this.#width);
    }
    return [this.#aligned.xs, ...this.#aligned.ys] as uPlot.AlignedData;
  }

  #options(scene: Scene, width: number, height: number, on: Handlers): uPlot.Options {
    const style = getComputedStyle(document.documentElement);
    const css = (name: string) => () => style.getPropertyValue(name); // live
    const font = '12px system-ui, sans-serif';
    let step: Step = { ms: 1 };
    // The other charts of the page shade the same selection; only the one under the pointer tells of it.
    let mine = false;
    return {
      width,
      height,
      ms: 1,
      legend: { show: false },
      padding: [8, 12, 0, 0],
      scales: {
        x: { time: false, auto: false, min: scene.from, max: scene.to },
        y: { range: (_, min, max) => this.#rangeY(min, max) },
      },
      axes: [
        {
          stroke: css('--dim'),
          font,
          size: 38,
          gap: 4,
          grid: { stroke: css('--grid'), width: 1 },
          ticks: { stroke: css('--line'), width: 1, size: 4 },
          splits: (u, _, min, max) => {
            step = stepFor(max - min, Math.max(Math.floor(u.width / 96), 2));
            return ticks(this.#scene.zone, min, max, step);
          },
          values: (_, splits) => tickLabels(this.#scene.zone, splits, step),
        },
        {
          stroke: css('--dim'),
          font,
          size: yAxis,
          gap: 6,
          space: 34,
          grid: { stroke: css('--grid'), width: 1 },
          ticks: { show: false },
          values: (_, splits) => {
            const d = decimals((splits[1] ?? 1) - (splits[0] ?? 0));
            return splits.map((v) => number(v, d));
          },
        },
      ],
      series: [{}, ...scene.lines.map((l, i) => (scene.counter ? this.#barSeries() : this.#lineSeries(l, i)))],
      cursor: {
        sync: { key: 'device', setSeries: false, scales: ['x', null] },
        drag: { x: true, y: false, setScale: false, dist: 5 },
        points: { show: !scene.counter, size: 7 },
        y: false,
        bind: {
          mouseup: (_u, _target, handle) => (e) => {
            mine = true;
            handle(e);
            mine = false;
            return null;
          },
          dblclick: () => () => {
            on.out();
            return null;
          },
        },
      },
      hooks: {
        setCursor: [(u) => on.point(u.cursor.left !== undefined && u.cursor.left >= 0 ? u.posToVal(u.cursor.left, 'x') : undefined)],
        setSelect: [
          (u) => {
            if (u.select.width < 5) return;
            const from = u.posToVal(u.select.left, 'x');
            const to = u.posToVal(u.select.left + u.select.width, 'x');
            u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
            if (mine) on.select(from, to);
          },
        ],
        draw: [(u) => this.#drawMarks(u, css('--warn')(), css('--bad')())],
      },
    };
  }

  #lineSeries(l: Line, i: number): uPlot.Series {
    return {
      stroke: () => this.#color(i),
      width: 1.5,
      dash: l.dash,
      spanGaps: false,
      points: { show: false, size: 5, width: 1, stroke: () => this.#color(i), fill: () => this.#color(i), filter: (u) => this.#dots(u, i) },
    };
  }

  #color(i: number): string {
    return this.#scene.lines[i]?.color ?? '';
  }

  #barSeries(): uPlot.Series {
    return {
      stroke: () => this.#color(0),
      fill: () => this.#color(0) + 'b0',
      width: 0,
      points: { show: false },
      paths: (u, _, first, last) => this.#barPaths(u, first, last),
    };
  }

  /** Bars as wide as their step: days of 23 hours are narrower than those of 25. */
  #barPaths(u: uPlot, first: number, last: number): uPlot.Series.Paths {
    const fill = new Path2D();
    const { bars } = this.#scene;
    const zero = u.valToPos(0, 'y', true);
    for (let i = first; bars && i <= last; i++) {
      const left = u.valToPos(bars.starts[i]!, 'x', true);
      const right = u.valToPos(bars.ends[i]!, 'x', true);
      const top = u.valToPos(bars.amounts[i]!, 'y', true);
      const gap = Math.min((right - left) * 0.15, 2 * devicePixelRatio);
      if (bars.amounts[i]! > 0) fill.rect(left + gap / 2, top, Math.max(right - left - gap, 1), zero - top);
    }
    return { fill, stroke: null, clip: null, gaps: null, band: null, flags: 0 } as unknown as uPlot.Series.Paths;
  }

  #rangeY(min: number | null, max: number | null): [number, number] {
    if (min === null || max === null || !Number.isFinite(min) || !Number.isFinite(max)) return [0, 1];
    if (this.#scene.counter) return [0, max > 0 ? max * 1.08 : 1];
    const digits = Math.max(...this.#scene.lines.map((l) => l.digits));
    // Noise of the last digit shall not fill the height of a chart.
    const least = 20 * 10 ** -digits;
    const pad = Math.max((max - min) * 0.08, (least - (max - min)) / 2);
    return [min - pad, max + pad];
  }

  /** Samples alone between gaps, which no line shows; all of them where they are far enough apart to be told. */
  #dots(u: uPlot, i: number): number[] | null {
    const y = this.#aligned.ys[i] ?? [];
    const { min, max } = u.scales['x'] ?? {};
    const trace = this.#scene.lines[i]?.trace;
    if (trace && min != null && max != null) {
      let n = 0;
      for (const t of trace.times) if (t >= min && t <= max) n++;
      if (n * 12 < u.bbox.width / devicePixelRatio) return y.flatMap((v, k) => (typeof v === 'number' ? [k] : []));
    }
    const alone = lonely(y);
    return alone.length > 0 ? alone : null;
  }

  /** Suspect samples get a triangle, bad ones a cross; a step of a counter with a gap in it, a dashed outline. */
  #drawMarks(u: uPlot, warn: string, bad: string): void {
    const { ctx, bbox } = u;
    const r = 4 * devicePixelRatio;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left - r, bbox.top - r, bbox.width + 2 * r, bbox.height + 2 * r);
    ctx.clip();
    ctx.lineWidth = 1.5 * devicePixelRatio;
    const { bars } = this.#scene;
    if (bars) {
      ctx.strokeStyle = warn;
      ctx.setLineDash([3 * devicePixelRatio, 3 * devicePixelRatio]);
      bars.incomplete.forEach((yes, i) => {
        if (!yes) return;
        const left = u.valToPos(bars.starts[i]!, 'x', true);
        const right = u.valToPos(bars.ends[i]!, 'x', true);
        const top = Math.min(u.valToPos(bars.amounts[i]!, 'y', true), bbox.top + bbox.height - 2 * r);
        ctx.strokeRect(left, top, right - left, bbox.top + bbox.height - top);
      });
      ctx.restore();
      return;
    }
    for (const { trace } of this.#scene.lines) {
      if (!trace) continue;
      for (let i = 0; i < trace.times.length; i++) {
        const flag = trace.flags[i]!;
        if (!marked(flag)) continue;
        const x = u.valToPos(trace.times[i]!, 'x', true);
        if (x < bbox.left - r || x > bbox.left + bbox.width + r) continue;
        const y = u.valToPos(trace.values[i]!, 'y', true);
        ctx.beginPath();
        if (flag >= 4) {
          ctx.strokeStyle = bad;
          ctx.moveTo(x - r, y - r);
          ctx.lineTo(x + r, y + r);
          ctx.moveTo(x + r, y - r);
          ctx.lineTo(x - r, y + r);
        } else {
          ctx.strokeStyle = warn;
          ctx.moveTo(x, y - r);
          ctx.lineTo(x + r, y + r * 0.8);
          ctx.lineTo(x - r, y + r * 0.8);
          ctx.closePath();
        }
        ctx.stroke();
      }
    }
    ctx.restore();
  }
}

const nothing: Trace = { id: '', intervalMs: 0, reduced: false, count: 0, through: -Infinity, times: [], values: [], flags: [], gaps: [] };

/** Digits after the point that tell neighbouring ticks apart. */
function decimals(increment: number): number {
  for (let d = 0; d < 12; d++) {
    const n = increment * 10 ** d;
    if (Math.abs(n - Math.round(n)) < 1e-6 * n) return d;
  }
  return 12;
}
