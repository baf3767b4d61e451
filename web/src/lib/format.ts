// Numbers, durations and counts in words. One way everywhere: a point for decimals, thin spaces between thousands.

const minus = '\u2212';

/** A value with so many digits after the point. Very great and very small ones get an exponent. */
export function number(value: number, digits: number): string {
  const size = Math.abs(value);
  const d = Math.min(Math.max(Math.trunc(digits), 0), 12);
  let text: string;
  if (size >= 1e12 || (size > 0 && size < 0.5 * 10 ** -d && size < 1e-6)) text = size.toExponential(3);
  else text = grouped(size.toFixed(d));
  return value < 0 && /[1-9]/.test(text) ? minus + text : text;
}

function grouped(fixed: string): string {
  const [whole = '', part] = fixed.split('.');
  const w = whole.length > 4 ? whole.replace(/\B(?=(\d{3})+$)/g, '\u202f') : whole;
  return part === undefined ? w : `${w}.${part}`;
}

export function count(n: number): string {
  return number(n, 0);
}

export function plural(n: number, one: string, many = one + 's'): string {
  return `${count(n)}\u00a0${n === 1 ? one : many}`;
}

const second = 1000;
const minute = 60 * second;
const hour = 60 * minute;
const day = 24 * hour;

/** A length of time, in its greatest unit: "12 s", "5 min", "3 h", "12 days", "4 years". */
export function duration(ms: number): string {
  const d = Math.abs(ms);
  if (d < minute) return `${Math.floor(d / second)}\u00a0s`;
  if (d < hour) return `${Math.floor(d / minute)}\u00a0min`;
  if (d < 2 * day) return `${Math.floor(d / hour)}\u00a0h`;
  if (d < 730 * day) return plural(Math.floor(d / day), 'day');
  return plural(Math.floor(d / (365.25 * day)), 'year');
}

/** How long ago: "just now", "12 s ago", "in 3 min". */
export function ago(time: number, now: number): string {
  const d = now - time;
  if (Math.abs(d) < 2 * second) return 'just now';
  return d > 0 ? `${duration(d)} ago` : `in ${duration(d)}`;
}

/** What is wrong with a device's clock, in words; "" where nothing is. limit is the hub's own: 2 minutes. */
export function clockWarning(offsetMs: number): string {
  if (Math.abs(offsetMs) <= 2 * minute) return '';
  return `Clock ${duration(offsetMs)} ${offsetMs > 0 ? 'ahead' : 'behind'}`;
}

const flagNames: Record<number, string> = { 1: 'good', 2: 'not evaluated', 3: 'suspect', 4: 'bad', 9: 'missing' };

export function flagName(flag: number): string {
  return flagNames[flag] ?? `flag ${flag}`;
}

/** Whether a sample deserves a mark: QARTOD suspect, bad or missing. */
export function marked(flag: number): boolean {
  return flag >= 3;
}
