// Decodes series as binary columns; docs/format/columns.md describes the format. The bytes are not trusted: whatever
// they say, the decoder reads inside them, allocates no more than they hold, and throws ColumnsError on nonsense.

/** One element's part of an answer. times, values and flags have one length. */
export interface Columns {
  id: string;
  /** The points are the least and greatest of buckets, not all samples. */
  reduced: boolean;
  /** Expected ms between samples; 0 is unknown. */
  intervalMs: number;
  /** Samples in the range. */
  count: number;
  /** UTC ms, ascending. */
  times: Float64Array;
  values: Float64Array;
  /** QARTOD. */
  flags: Uint8Array;
  /** Pairs: times of the samples before and after each gap, ascending. */
  gaps: Float64Array;
}

export class ColumnsError extends Error {}

const magic = 0x3143484c; // "LHC1", little endian
const header = 28;
const maxSeries = 1000;

export function decodeColumns(body: ArrayBuffer): Columns[] {
  const view = new DataView(body);
  const need = (at: number, n: number): void => {
    if (at + n > body.byteLength) throw new ColumnsError(`the answer ends at byte ${body.byteLength}, within a part of ${n} bytes from ${at}`);
  };
  need(0, 8);
  if (view.getUint32(0, true) !== magic) throw new ColumnsError('the answer is not of the format LHC1');
  const series = view.getUint32(4, true);
  if (series > maxSeries) throw new ColumnsError(`the answer speaks of ${series} series`);
  const text = new TextDecoder('utf-8', { fatal: true });
  const out: Columns[] = [];
  let at = 8;
  for (let s = 0; s < series; s++) {
    need(at, 2);
    const idLength = view.getUint16(at, true);
    at += 2;
    need(at, idLength + header);
    let id: string;
    try {
      id = text.decode(new Uint8Array(body, at, idLength));
    } catch {
      throw new ColumnsError('an id is not UTF-8');
    }
    at += idLength;
    const flags = view.getUint32(at, true);
    const intervalMs = whole(view.getBigInt64(at + 4, true), 'an interval');
    const count = whole(view.getBigInt64(at + 12, true), 'a count');
    const n = view.getUint32(at + 20, true);
    const g = view.getUint32(at + 24, true);
    at += header;
    at += -at & 7;
    need(at, 17 * n + 16 * g); // below 2^53 for any n and g
    const times = new Float64Array(body, at, n);
    at += 8 * n;
    const values = new Float64Array(body, at, n);
    at += 8 * n;
    const gaps = new Float64Array(body, at, 2 * g);
    at += 16 * g;
    const quality = new Uint8Array(body, at, n);
    at += n;
    at += -at & 7;
    ascending(times, true);
    ascending(gaps, false);
    for (const v of values) if (!Number.isFinite(v)) throw new ColumnsError('a value is not finite');
    out.push({ id, reduced: (flags & 1) !== 0, intervalMs, count, times, values, flags: quality, gaps });
  }
  return out;
}

function whole(n: bigint, what: string): number {
  if (n < 0n || n > BigInt(Number.MAX_SAFE_INTEGER)) throw new ColumnsError(`${what} is ${n}`);
  return Number(n);
}

/** Refuses times that are not finite or go back; what draws them searches them by halves. */
function ascending(times: Float64Array, strictly: boolean): void {
  let before = -Infinity;
  for (const t of times) {
    if (!Number.isFinite(t) || t < before || (strictly && t === before)) throw new ColumnsError('the times do not ascend');
    before = t;
  }
}
