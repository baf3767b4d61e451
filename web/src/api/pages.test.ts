import { expect, test } from 'vitest';
import { pages } from './pages';

test('a list is read to its end', async () => {
  const asked: (string | undefined)[] = [];
  const got = await pages(({ limit, cursor }) => {
    expect(limit).toBe(1000);
    asked.push(cursor);
    const n = asked.length;
    return Promise.resolve(n < 3 ? { items: [n], next: `/api/v1/projects/p/devices?cursor=c%2B${n}&limit=1000` } : { items: [n] });
  });
  expect(got).toEqual([1, 2, 3]);
  expect(asked).toEqual([undefined, 'c+1', 'c+2']);
});

test('a list that leads back to where it was ends', async () => {
  expect(await pages(() => Promise.resolve({ items: [1], next: '/x?cursor=same' }))).toEqual([1, 1]);
});
