import { expect, test } from 'vitest';
import { local } from './visit';

test('only paths of this hub are gone back to', () => {
  for (const good of ['/', '/p/prj_1', '/p/prj_1/d/dev_1?from=1', '/security']) expect(local(good)).toBe(good);
  for (const bad of ['', 'x', '//evil.example', '/\\evil.example', '\\/evil.example', 'https://evil.example', 'javascript:alert(1)', '/x\n/y', '/sso/corp?code=1'])
    expect(local(bad)).toBe('/');
});
