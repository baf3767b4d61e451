// Reads a stream of server-sent events (HTML living standard, 9.2.6) from text as it comes in.

export interface SseEvent {
  name: string;
  data: string;
}

/** No event of the hub is longer; a stream that goes on without an end of line is cut off. */
const maxPending = 1 << 20;

export class SseParser {
  #rest = '';
  #name = '';
  #data: string[] = [];
  #size = 0;

  /** The events that are complete with this text. Throws when the stream makes no sense. */
  push(text: string): SseEvent[] {
    const out: SseEvent[] = [];
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop()!;
    if (this.#rest.length > maxPending) throw new Error('a line of the live stream has no end');
    for (const line of lines) {
      if (line === '') {
        if (this.#data.length > 0) out.push({ name: this.#name || 'message', data: this.#data.join('\n') });
        this.#name = '';
        this.#data = [];
        this.#size = 0;
        continue;
      }
      const colon = line.indexOf(':');
      if (colon === 0) continue; // a comment keeps the stream alive
      const field = colon < 0 ? line : line.slice(0, colon);
      let value = colon < 0 ? '' : line.slice(colon + 1);
      if (value.startsWith(' ')) value = value.slice(1);
      if (field === 'event') this.#name = value;
      if (field === 'data') {
        if ((this.#size += value.length) > maxPending) throw new Error('an event of the live stream has no end');
        this.#data.push(value);
      }
    }
    return out;
  }
}
