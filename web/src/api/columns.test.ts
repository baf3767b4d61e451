import { describe, expect, it } from 'vitest';
import { ColumnsError, decodeColumns } from './columns';

interface Part {
  id: string;
  reduced?: boolean;
  interval?: number;
  times: number[];
  values: number[];
  flags?: number[];
  gaps?: number[];
}

/** Writes the format as docs/format/columns.md says it, independent of the decoder. */
function encode(parts: Part[]): ArrayBuffer {
  const bytes: number[] = [];
  const put = (n: number, write: (v: DataView) => void): void => {
    const b = new ArrayBuffer(n);
    write(new DataView(b));
    bytes.push(...new Uint8Array(b));
  };
  const pad = (): void => {
    while (bytes.length % 8 !== 0) bytes.push(0);
  };
  bytes.push(...new TextEncoder().encode('LHC1'));
  put(4, (v) => v.setUint32(0, parts.length, true));
  for (const p of parts) {
    const id = new TextEncoder().encode(p.id);
    put(2, (v) => v.setUint16(0, id.length, true));
    bytes.push(...id);
    put(4, (v) => v.setUint32(0, p.reduced ? 1 : 0, true));
    put(8, (v) => v.setBigInt64(0, BigInt(p.interval ?? 0), true));
    put(8, (v) => v.setBigInt64(0, BigInt(p.times.length), true));
    put(4, (v) => v.setUint32(0, p.times.length, true));
    put(4, (v) => v.setUint32(0, (p.gaps ?? []).length / 2, true));
    pad();
    for (const list of [p.times, p.values, p.gaps ?? []]) for (const x of list) put(8, (v) => v.setFloat64(0, x, true));
    bytes.push(...(p.flags ?? p.times.map(() => 1)));
    pad();
  }
  return new Uint8Array(bytes).buffer;
}

const two: Part[] = [
  { id: 'elm_0123456789abcdef', reduced: true, interval: 60_000, times: [1000, 2000, 9000], values: [1.5, -2, 3], flags: [1, 3, 4], gaps: [2000, 9000] },
  { id: 'é', times: [5], values: [7] },
];

describe('decodeColumns', () => {
  it('reads every field of several series', () => {
    const [a, b] = decodeColumns(encode(two));
    expect(a).toMatchObject({ id: 'elm_0123456789abcdef', reduced: true, intervalMs: 60_000, count: 3 });
    expect([...a!.times]).toEqual([1000, 2000, 9000]);
    expect([...a!.values]).toEqual([1.5, -2, 3]);
    expect([...a!.flags]).toEqual([1, 3, 4]);
    expect([...a!.gaps]).toEqual([2000, 9000]);
    expect(b).toMatchObject({ id: 'é', reduced: false, count: 1 });
    expect([...b!.values]).toEqual([7]);
  });

  it('reads an empty answer and an empty series', () => {
    expect(decodeColumns(encode([]))).toEqual([]);
    expect(decodeColumns(encode([{ id: 'e', times: [], values: [] }]))[0]!.times).toHaveLength(0);
  });

  it('refuses every cut of a good answer', () => {
    const whole = encode(two);
    // The last zero bytes are padding that nothing needs.
    for (let n = 0; n < whole.byteLength - 8; n++) expect(() => decodeColumns(whole.slice(0, n)), `cut at ${n}`).toThrow(ColumnsError);
  });

  it('never throws anything but ColumnsError, whatever single byte is wrong', () => {
    const whole = encode(two);
    for (let at = 0; at < whole.byteLength; at++) {
      for (const value of [0x00, 0x01, 0x7f, 0x80, 0xff]) {
        const bad = whole.slice(0);
        new Uint8Array(bad)[at] = value;
        try {
          decodeColumns(bad);
        } catch (e) {
          expect(e, `byte ${at} = ${value}`).toBeInstanceOf(ColumnsError);
        }
      }
    }
  });

  it('never throws anything else at random bytes, nor takes long over great numbers', () => {
    let seed = 42;
    const random = (): number => (seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) >>> 24;
    for (let i = 0; i < 2000; i++) {
      const b = Uint8Array.from({ length: i % 97 }, random);
      b.set(new TextEncoder().encode('LHC1').slice(0, b.length));
      try {
        decodeColumns(b.buffer);
      } catch (e) {
        expect(e).toBeInstanceOf(ColumnsError);
      }
    }
    const many = encode([]);
    new DataView(many).setUint32(4, 0xffffffff, true);
    expect(() => decodeColumns(many)).toThrow(ColumnsError);
  });

  it('refuses another version, times that go back and values that are not finite', () => {
    const other = encode(two);
    new Uint8Array(other)[3] = 0x32;
    expect(() => decodeColumns(other)).toThrow(/LHC1/);
    expect(() => decodeColumns(encode([{ id: 'e', times: [2, 1], values: [0, 0] }]))).toThrow(/ascend/);
    expect(() => decodeColumns(encode([{ id: 'e', times: [1, 1], values: [0, 0] }]))).toThrow(/ascend/);
    expect(() => decodeColumns(encode([{ id: 'e', times: [NaN], values: [0] }]))).toThrow(/ascend/);
    expect(() => decodeColumns(encode([{ id: 'e', times: [1], values: [Infinity] }]))).toThrow(/finite/);
  });
});
