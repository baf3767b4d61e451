import { describe, expect, it } from 'vitest';
import { ago, clockWarning, duration, number, plural } from './format';
import { unitText, withUnit } from './units';
import { groupsOf } from './groups';
import { drawn } from './color';

const plain = (s: string): string => s.replaceAll('\u00a0', ' ').replaceAll('\u202f', ' ');

describe('number', () => {
  it('has the digits it is given', () => {
    expect(number(1.23456, 3)).toBe('1.235');
    expect(number(2, 0)).toBe('2');
    expect(number(-0.5, 1)).toBe('\u22120.5');
  });
  it('never shows a minus before nothing', () => {
    expect(number(-0.0001, 2)).toBe('0.00');
    expect(number(-0, 1)).toBe('0.0');
  });
  it('groups thousands from five digits on, and writes the very great and small with a power', () => {
    expect(number(1234.5, 1)).toBe('1234.5');
    expect(plain(number(1234567.5, 1))).toBe('1 234 567.5');
    expect(number(1.5e15, 2)).toBe('1.500e+15');
    expect(number(-2e-9, 2)).toBe('\u22122.000e-9');
  });
  it('survives digits that make no sense', () => {
    expect(number(1.5, -3)).toBe('2');
    expect(number(1.5, 99)).toBe('1.500000000000');
  });
});

describe('time in words', () => {
  it('says how long ago', () => {
    expect(plain(ago(0, 1000))).toBe('just now');
    expect(plain(ago(0, 12_000))).toBe('12 s ago');
    expect(plain(ago(0, 5 * 60_000))).toBe('5 min ago');
    expect(plain(ago(0, 30 * 3600_000))).toBe('30 h ago');
    expect(plain(ago(0, 3 * 86400_000))).toBe('3 days ago');
    expect(plain(ago(Date.UTC(2012, 4, 1), Date.UTC(2026, 10, 24)))).toBe('14 years ago');
    expect(plain(ago(180_000, 0))).toBe('in 3 min');
    expect(plain(duration(-90_000))).toBe('1 min');
    expect(plain(plural(1, 'day'))).toBe('1 day');
  });
  it('warns of clocks as the hub does', () => {
    expect(clockWarning(120_000)).toBe('');
    expect(plain(clockWarning(3600_000))).toBe('Clock 1 h ahead');
    expect(plain(clockWarning(-3 * 3600_000))).toBe('Clock 3 h behind');
  });
});

describe('units', () => {
  it('are written as people do', () => {
    for (const [code, text] of Object.entries({ Cel: '°C', 'uS/cm': 'µS/cm', '[cft_i]/s': 'ft³/s', m: 'm', mm: 'mm', V: 'V', '%': '%', '': '', '1': '', '{drops}': 'drops', 'foo/bar': 'foo/bar' })) {
      expect(unitText(code), code).toBe(text);
    }
    expect(unitText('constructor')).toBe('constructor');
    expect(plain(withUnit('1.2', 'm'))).toBe('1.2 m');
    expect(withUnit('5', 'deg')).toBe('5°');
    expect(withUnit('5', '')).toBe('5');
  });
});

describe('groupsOf', () => {
  const e = (id: string, unit: string, quantity = '', meaning = 'instantaneous') => ({ id, unit, quantity, meaning });
  it('puts elements of one unit into one chart, counters alone and the battery last', () => {
    const gs = groupsOf([e('b', 'V', 'battery_voltage'), e('t1', 'Cel'), e('r', 'mm', 'rain', 'counter'), e('t2', 'Cel'), e('r2', 'mm', 'rain', 'counter'), e('x', ''), e('y', '', 'ph')]);
    expect(gs.map((g) => g.elements.map((x) => x.id))).toEqual([['t1', 't2'], ['r'], ['r2'], ['x'], ['y'], ['b']]);
    expect(gs.map((g) => g.counter)).toEqual([false, true, true, false, false, false]);
  });
  it('does not crowd a chart', () => {
    expect(groupsOf(Array.from({ length: 12 }, (_, i) => e(String(i), 'm'))).map((g) => g.elements.length)).toEqual([5, 5, 2]);
  });
});

describe('drawn', () => {
  it('lightens on dark pages and never passes on what is no colour', () => {
    expect(drawn('#102030', false)).toBe('#102030');
    expect(drawn('#000000', true)).toBe('#525252');
    expect(drawn('red;x', false)).toMatch(/^#[0-9a-f]{6}$/);
  });
});
