/** A page of a list: next is the path of the page after it. */
interface Page<T> {
  items: T[];
  next?: string;
}

/** Reads a list to its end: get asks for the page at a cursor. */
export async function pages<T>(get: (query: { limit: number; cursor?: string }) => Promise<Page<T>>): Promise<T[]> {
  const all: T[] = [];
  let cursor: string | undefined;
  for (;;) {
    const page = await get(cursor === undefined ? { limit: 1000 } : { limit: 1000, cursor });
    for (const item of page.items) all.push(item);
    const next = page.next ? new URLSearchParams(page.next.slice(page.next.indexOf('?'))).get('cursor') : null;
    if (next === null || next === cursor) return all;
    cursor = next;
  }
}
