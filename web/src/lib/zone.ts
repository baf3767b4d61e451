// Wall-clock time in any IANA zone, with the browser's own zone data. Instants are UTC ms; "wall" is the ms that a
// clock on that wall would show if it were UTC.

const partsOf = new Map<string, Intl.DateTimeFormat>();

function formatter(zone: string): Intl.DateTimeFormat {
  let f = partsOf.get(zone);
  if (!f) {
    f = new Intl.DateTimeFormat('en-US', { timeZone: zone, hourCycle: 'h23', era: 'short', year: 'numeric', month: 'numeric', day: 'numeric', hour: 'numeric', minute: 'numeric', second: 'numeric' });
    partsOf.set(zone, f);
  }
  return f;
}

/** The zone if the browser knows it, else UTC. */
export function knownZone(zone: string): string {
  try {
    formatter(zone);
    return zone;
  } catch {
    return 'UTC';
  }
}

const quarter = 15 * 60 * 1000; // offsets change at multiples of it
const offsets = new Map<string, Map<number, number>>();

/** The zone's offset from UTC at an instant, in ms, east positive. */
export function offsetAt(zone: string, t: number): number {
  if (zone === 'UTC') return 0;
  const key = Math.floor(t / quarter);
  let known = offsets.get(zone);
  if (!known || known.size > 50_000) offsets.set(zone, (known = new Map()));
  let offset = known.get(key);
  if (offset === undefined) {
    const at = key * quarter;
    const p: Record<string, string> = {};
    for (const { type, value } of formatter(zone).formatToParts(at)) p[type] = value;
    const year = p['era']?.startsWith('B') ? 1 - Number(p['year']) : Number(p['year']);
    const wall = new Date(0);
    wall.setUTCFullYear(year, Number(p['month']) - 1, Number(p['day']));
    wall.setUTCHours(Number(p['hour']), Number(p['minute']), Number(p['second']));
    offset = wall.getTime() - at;
    known.set(key, offset);
  }
  return offset;
}

export function wallOf(zone: string, t: number): number {
  return t + offsetAt(zone, t);
}

/** The instant at which the wall shows a time; of two, the first; of none (a spring night), just after the jump. */
export function instantOf(zone: string, wall: number): number {
  const early = wall - offsetAt(zone, wall - 24 * 3600_000);
  if (wallOf(zone, early) === wall) return early;
  const late = wall - offsetAt(zone, wall + 24 * 3600_000);
  if (wallOf(zone, late) === wall) return late;
  return Math.max(early, late);
}

const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
const two = (n: number): string => String(n).padStart(2, '0');

function clock(d: Date, precision: 'minute' | 'second' | 'ms'): string {
  let s = `${two(d.getUTCHours())}:${two(d.getUTCMinutes())}`;
  if (precision !== 'minute') s += `:${two(d.getUTCSeconds())}`;
  if (precision === 'ms') s += `.${String(d.getUTCMilliseconds()).padStart(3, '0')}`;
  return s;
}

function date(d: Date): string {
  return `${d.getUTCDate()}\u00a0${months[d.getUTCMonth()]}\u00a0${d.getUTCFullYear()}`;
}

/** "24 Nov 2026, 16:05:09" on the zone's wall; milliseconds only where there are some. */
export function dateTime(zone: string, t: number, precision: 'minute' | 'second' = 'second'): string {
  const d = new Date(wallOf(zone, t));
  return `${date(d)}, ${clock(d, precision === 'second' && t % 1000 !== 0 ? 'ms' : precision)}`;
}

/** Time of day alone. */
export function timeOfDay(zone: string, t: number): string {
  return clock(new Date(wallOf(zone, t)), 'second');
}

/** "UTC+1" at an instant. */
export function offsetText(zone: string, t: number): string {
  const min = Math.round(offsetAt(zone, t) / 60_000);
  if (min === 0) return 'UTC';
  const size = Math.abs(min);
  return `UTC${min < 0 ? '\u2212' : '+'}${Math.floor(size / 60)}${size % 60 ? ':' + two(size % 60) : ''}`;
}

/** How a chart's times are labelled: "Europe/Copenhagen (UTC+1)". */
export function zoneLabel(zone: string, t: number): string {
  return zone === 'UTC' ? 'UTC' : `${zone} (${offsetText(zone, t)})`;
}

/** A step of a time axis: so many ms, or whole days or months of the zone's calendar. */
export interface Step {
  ms: number; // about, for months
  days?: number;
  months?: number;
}

const s = 1000, m = 60 * s, h = 60 * m, d = 24 * h;
export const steps: readonly Step[] = [
  ...[1, 2, 5, 10, 20, 50, 100, 200, 500, s, 2 * s, 5 * s, 10 * s, 15 * s, 30 * s, m, 2 * m, 5 * m, 10 * m, 15 * m, 30 * m, h, 2 * h, 3 * h, 6 * h, 12 * h].map((ms) => ({ ms })),
  ...[1, 2, 5, 10].map((days) => ({ ms: days * d, days })),
  ...[1, 2, 3, 6, 12, 24, 60, 120, 240, 600, 1200, 6000, 12_000, 60_000].map((months) => ({ ms: months * 30.4375 * d, months })),
];

/** The least step with which at most `most` of them fit into a span. */
export function stepFor(span: number, most: number): Step {
  return steps.find((x) => span / x.ms <= most) ?? steps[steps.length - 1]!;
}

/** The start of the step that holds an instant. */
export function floorStep(zone: string, t: number, step: Step): number {
  const wall = wallOf(zone, t);
  if (step.months !== undefined) {
    const at = new Date(wall);
    const month = at.getUTCFullYear() * 12 + at.getUTCMonth();
    return instantOf(zone, monthStart(Math.floor(month / step.months) * step.months));
  }
  if (step.days !== undefined) {
    const at = new Date(wall);
    const first = 1 + Math.floor((at.getUTCDate() - 1) / step.days) * step.days;
    return instantOf(zone, new Date(monthStart(at.getUTCFullYear() * 12 + at.getUTCMonth())).setUTCDate(first));
  }
  // Steps below a day follow the offset in force at t, so that an hour stays an hour through a night of 23 or 25.
  return Math.floor(wall / step.ms) * step.ms - (wall - t);
}

/** The start of the step after the one that starts at t. */
export function nextStep(zone: string, t: number, step: Step): number {
  if (step.months !== undefined) {
    const at = new Date(wallOf(zone, t));
    return instantOf(zone, monthStart(at.getUTCFullYear() * 12 + at.getUTCMonth() + step.months));
  }
  if (step.days !== undefined) {
    const at = new Date(wallOf(zone, t));
    const month = at.getUTCFullYear() * 12 + at.getUTCMonth();
    const last = new Date(monthStart(month + 1) - 1).getUTCDate();
    const next = at.getUTCDate() + step.days;
    // A stub of less than half a step at the month's end is joined to the step before it.
    if (next + step.days / 2 > last + 1) return instantOf(zone, monthStart(month + 1));
    return instantOf(zone, new Date(wallOf(zone, t)).setUTCDate(next));
  }
  const next = t + step.ms;
  if (step.ms <= h) return next;
  // 2, 3, 6 and 12 hours begin at their hours of the day again after a change of the clock.
  const start = floorStep(zone, next, step);
  return start > t ? (next - start > step.ms / 2 ? start + step.ms : start) : next;
}

function monthStart(month: number): number {
  return new Date(0).setUTCFullYear(Math.floor(month / 12), ((month % 12) + 12) % 12, 1);
}

/** Starts of steps in [from, to], at most `bound` of them. */
export function ticks(zone: string, from: number, to: number, step: Step, bound = 500): number[] {
  const out: number[] = [];
  let t = floorStep(zone, from, step);
  for (let i = 0; i < bound + 2 && t <= to && out.length < bound; i++) {
    if (t >= from) out.push(t);
    const next = nextStep(zone, t, step);
    if (!(next > t)) break;
    t = next;
  }
  return out;
}

/** Labels of an axis: short, with the greater unit on a second line where it changes. */
export function tickLabels(zone: string, at: number[], step: Step): string[] {
  let before: Date | undefined;
  return at.map((t) => {
    const w = new Date(wallOf(zone, t));
    const newYear = w.getUTCFullYear() !== before?.getUTCFullYear();
    const newDay = newYear || w.getUTCDate() !== before?.getUTCDate() || w.getUTCMonth() !== before?.getUTCMonth();
    const first = before === undefined;
    before = w;
    if (step.months !== undefined && step.months % 12 === 0) return String(w.getUTCFullYear());
    if (step.months !== undefined) return months[w.getUTCMonth()]! + (newYear ? `\n${w.getUTCFullYear()}` : '');
    const dayText = `${w.getUTCDate()} ${months[w.getUTCMonth()]}`;
    if (step.days !== undefined) return dayText + (newYear ? `\n${w.getUTCFullYear()}` : '');
    const text = clock(w, step.ms < s ? 'ms' : step.ms < m ? 'second' : 'minute');
    if (!newDay) return text;
    return `${text}\n${dayText}${first || newYear ? ` ${w.getUTCFullYear()}` : ''}`;
  });
}
