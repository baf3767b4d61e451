// Measures the JavaScript that a browser loads before the first page shows: the entry and everything it imports
// statically, each gzipped as the hub serves it. Fails above the limit.
import { existsSync, readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

const limitKiB = 120_000 / 1024;
const dist = new URL('../dist/', import.meta.url);
if (!existsSync(new URL('index.html', dist))) {
  console.error('dist/index.html is missing: run `npm run build` first');
  process.exit(1);
}
const seen = new Map();
const visit = (path) => {
  if (seen.has(path)) return;
  const file = new URL(path, dist);
  const code = readFileSync(file);
  seen.set(path, gzipSync(code, { level: 9 }).length);
  for (const [, name] of code.toString().matchAll(/(?:\bfrom|\bimport)\s*["'](\.[^"']+\.js)["']/g)) {
    visit(new URL(name, file).href.slice(dist.href.length));
  }
};
const html = readFileSync(new URL('index.html', dist), 'utf8');
for (const [, src] of html.matchAll(/(?:src|href)="\/(assets\/[^"]+\.js)"/g)) visit(src);
if (seen.size === 0) {
  console.error('index.html loads no script');
  process.exit(1);
}
const total = [...seen.values()].reduce((a, b) => a + b, 0) / 1024;
console.log(`metric=initial_js_kib_gz value=${total.toFixed(1)} unit=KiB`);
if (total > limitKiB) {
  console.error(`initial JavaScript is ${total.toFixed(1)} KiB; the limit is ${limitKiB.toFixed(1)} KiB`);
  process.exit(1);
}
