import { describe, expect, it } from 'vitest';
import { dateTime, floorStep, instantOf, knownZone, nextStep, offsetAt, offsetText, stepFor, steps, tickLabels, ticks, wallOf, zoneLabel } from './zone';

const h = 3600_000;
const day = 24 * h;
const cph = 'Europe/Copenhagen';
const springNight = Date.UTC(2026, 2, 28, 23); // 29 March 2026, 00:00; 23 hours long
const autumnNight = Date.UTC(2026, 9, 24, 22); // 25 October 2026, 00:00; 25 hours long
const oneDay = steps.find((s) => s.days === 1)!;
const months = (n: number) => steps.find((s) => s.months === n)!;

describe('offsetAt', () => {
  it('follows summer time to the millisecond', () => {
    const change = Date.UTC(2026, 2, 29, 1);
    expect(offsetAt(cph, change - 1)).toBe(h);
    expect(offsetAt(cph, change)).toBe(2 * h);
  });
  it('knows zones of half and quarter hours, and of the other side', () => {
    expect(offsetAt('Asia/Kolkata', 0)).toBe(5.5 * h);
    expect(offsetAt('Asia/Kathmandu', Date.UTC(2026, 0, 1))).toBe(5.75 * h);
    expect(offsetAt('America/New_York', Date.UTC(2012, 0, 1))).toBe(-5 * h);
    expect(offsetAt('UTC', 1)).toBe(0);
  });
  it('holds for the first and the last instant of the API', () => {
    expect(offsetAt('Etc/GMT-1', -62135596800000)).toBe(h);
    expect(offsetAt('Etc/GMT-1', 253402300799999)).toBe(h);
  });
});

describe('instantOf', () => {
  it('gives every wall time of the year back', () => {
    for (let t = Date.UTC(2026, 0, 1); t < Date.UTC(2027, 0, 1); t += 7 * h + 60_000) {
      const back = instantOf(cph, wallOf(cph, t));
      // One hour of the autumn night is there twice; the first is meant.
      expect([t, t - h]).toContain(back);
      expect(wallOf(cph, back)).toBe(wallOf(cph, t));
    }
  });
  it('moves a wall time that no clock shows behind the jump', () => {
    const none = Date.UTC(2026, 2, 29, 2, 30);
    expect(wallOf(cph, instantOf(cph, none))).toBe(Date.UTC(2026, 2, 29, 3, 30));
  });
  it('takes the first of two', () => {
    expect(instantOf(cph, Date.UTC(2026, 9, 25, 2, 30))).toBe(Date.UTC(2026, 9, 25, 0, 30));
  });
});

describe('steps of the calendar', () => {
  it('has days of 23 and of 25 hours', () => {
    expect(nextStep(cph, springNight, oneDay) - springNight).toBe(23 * h);
    expect(nextStep(cph, autumnNight, oneDay) - autumnNight).toBe(25 * h);
    expect(floorStep(cph, springNight + 22 * h, oneDay)).toBe(springNight);
    expect(floorStep(cph, autumnNight + 24.5 * h, oneDay)).toBe(autumnNight);
  });
  it('has months and years that begin on the zone’s wall', () => {
    const march = Date.UTC(2026, 1, 28, 23);
    expect(floorStep(cph, Date.UTC(2026, 2, 15), months(1))).toBe(march);
    expect(nextStep(cph, march, months(1))).toBe(Date.UTC(2026, 2, 31, 22));
    expect(floorStep('UTC', Date.UTC(2012, 5, 1), months(12))).toBe(Date.UTC(2012, 0, 1));
  });
  it('ticks without end or standstill for every step, over both changes of the clock', () => {
    for (const step of steps) {
      for (const night of [springNight, autumnNight]) {
        const from = night - step.ms * 3;
        const at = ticks(cph, from, night + step.ms * 40 + day, step, 40);
        expect(at.length, JSON.stringify(step)).toBeGreaterThan(0);
        for (let i = 1; i < at.length; i++) expect(at[i]!, JSON.stringify(step)).toBeGreaterThan(at[i - 1]!);
      }
    }
  });
  it('keeps six hours at 00, 06, 12 and 18 o’clock after a change', () => {
    const six = steps.find((s) => s.ms === 6 * h)!;
    const hours = ticks(cph, autumnNight, autumnNight + 2 * day, six).map((t) => new Date(wallOf(cph, t)).getUTCHours());
    expect(new Set(hours)).toEqual(new Set([0, 6, 12, 18]));
  });
  it('is chosen so that not more fit than asked for', () => {
    for (const span of [100, 60_000, h, day, 30 * day, 365 * day, 9000 * 365 * day]) {
      for (const most of [2, 5, 12]) expect(span / stepFor(span, most).ms).toBeLessThanOrEqual(most);
    }
  });
});

describe('labels', () => {
  it('say the zone and its offset at the time', () => {
    expect(zoneLabel(cph, springNight)).toBe('Europe/Copenhagen (UTC+1)');
    expect(zoneLabel(cph, springNight + day)).toBe('Europe/Copenhagen (UTC+2)');
    expect(offsetText('America/St_Johns', Date.UTC(2026, 0, 1))).toBe('UTC\u22123:30');
    expect(zoneLabel('UTC', 0)).toBe('UTC');
  });
  it('write times of the wall, with milliseconds only where there are some', () => {
    expect(dateTime(cph, Date.UTC(2026, 10, 24, 15, 5, 9)).replaceAll('\u00a0', ' ')).toBe('24 Nov 2026, 16:05:09');
    expect(dateTime(cph, Date.UTC(2026, 10, 24, 15, 5, 9, 70))).toMatch(/16:05:09\.070$/);
    expect(dateTime('UTC', -62135596800000).replaceAll('\u00a0', ' ')).toBe('1 Jan 1, 00:00:00');
  });
  it('name the day where it changes and the year where that does', () => {
    const hours6 = steps.find((s) => s.ms === 6 * h)!;
    const at = ticks('UTC', Date.UTC(2026, 11, 31, 12), Date.UTC(2027, 0, 1, 6), hours6);
    expect(tickLabels('UTC', at, hours6)).toEqual(['12:00\n31 Dec 2026', '18:00', '00:00\n1 Jan 2027', '06:00']);
    const m = ticks('UTC', Date.UTC(2026, 10, 1), Date.UTC(2027, 1, 1), months(1));
    expect(tickLabels('UTC', m, months(1))).toEqual(['Nov\n2026', 'Dec', 'Jan\n2027', 'Feb']);
  });
});

describe('knownZone', () => {
  it('falls back to UTC for what the browser does not know', () => {
    expect(knownZone(cph)).toBe(cph);
    expect(knownZone('Mars/Olympus')).toBe('UTC');
    expect(knownZone('')).toBe('UTC');
  });
});
