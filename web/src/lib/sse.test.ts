import { describe, expect, it } from 'vitest';
import { SseParser } from './sse';

const text = ': loggerhead\n\nevent: sample\ndata: {"a":1}\n\n: ping\n\nevent: resync\ndata: {}\n\ndata: one\ndata:two\n\n';
const events = [{ name: 'sample', data: '{"a":1}' }, { name: 'resync', data: '{}' }, { name: 'message', data: 'one\ntwo' }];

describe('SseParser', () => {
  it('reads the same events however the stream is cut', () => {
    for (const ends of ['\n', '\r\n', '\r']) {
      const t = text.replaceAll('\n', ends) + (ends === '\r' ? ':' : '');
      for (let size = 1; size <= t.length; size++) {
        const p = new SseParser();
        const got = [];
        for (let i = 0; i < t.length; i += size) got.push(...p.push(t.slice(i, i + size)));
        expect(got, `${JSON.stringify(ends)} by ${size}`).toEqual(events);
      }
    }
  });
  it('gives no event that is not finished, and none without data', () => {
    const p = new SseParser();
    expect(p.push('event: sample\ndata: 1\n')).toEqual([]);
    expect(p.push('\n')).toEqual([{ name: 'sample', data: '1' }]);
    expect(p.push('event: sample\n\ndata: 2\n\n')).toEqual([{ name: 'message', data: '2' }]);
  });
  it('gives up on a line or an event without end', () => {
    const p = new SseParser();
    expect(() => {
      for (let i = 0; i < 200; i++) p.push('x'.repeat(10_000));
    }).toThrow();
    const q = new SseParser();
    expect(() => {
      for (let i = 0; i < 200; i++) q.push(`data: ${'x'.repeat(10_000)}\n`);
    }).toThrow();
  });
});
