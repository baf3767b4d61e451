// The few things a browser test needs: tests by name, pages that tell what went wrong in them, waiting, axe.

import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';

const shots = new URL('../shots/', import.meta.url).pathname;
const axeSource = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

const tests = [];
export function test(name, run) {
  tests.push({ name, run });
}

export function check(ok, what) {
  if (!ok) throw new Error(what);
}

export function equal(got, want, what) {
  if (JSON.stringify(got) !== JSON.stringify(want)) throw new Error(`${what}: got ${JSON.stringify(got)}, want ${JSON.stringify(want)}`);
}

/** Waits until f gives something true, and returns that. */
export async function until(f, what, ms = 15_000) {
  const end = Date.now() + ms;
  for (;;) {
    const got = await f();
    if (got) return got;
    if (Date.now() > end) throw new Error(`${what} did not happen in ${ms} ms`);
    await new Promise((r) => setTimeout(r, 50));
  }
}

export const desktop = { viewport: { width: 1360, height: 860 } };
export const phone = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true };

/** What the tests share: the hub and the browser. */
export class Bench {
  constructor(hub, browser) {
    this.hub = hub;
    this.browser = browser;
    this.open = [];
  }

  /** A page of its own browser context. Errors of its scripts, and of the content policy, fail the test. */
  async page(options = {}) {
    const context = await this.browser.newContext({ ...desktop, locale: 'de-DE', timezoneId: 'Asia/Tokyo', ...options });
    const page = await context.newPage();
    page.setDefaultTimeout(15_000);
    page.troubles = [];
    page.on('pageerror', (e) => page.troubles.push(`script error: ${e.stack}`));
    page.on('console', (m) => {
      if (/Content Security Policy|Refused to/i.test(m.text())) page.troubles.push(m.text());
    });
    this.open.push({ context, page });
    return page;
  }

  /** A page on which somebody is logged in. */
  async loggedIn(role, options) {
    const page = await this.page(options);
    await page.goto(this.hub.url);
    await logIn(page, this.hub.logins[role]);
    await page.waitForSelector('article[data-device]');
    return page;
  }

  async closePages() {
    const troubles = this.open.flatMap((o) => o.page.troubles);
    for (const o of this.open) await o.context.close();
    this.open = [];
    if (troubles.length > 0) throw new Error(troubles.join('\n'));
  }
}

export async function logIn(page, { email, password }) {
  await page.getByLabel('E-mail').fill(email);
  await page.getByLabel('Password').fill(password);
  await page.getByRole('button', { name: 'Log in' }).click();
}

/** Opens a device's page by its name on the project's. */
export async function openDevice(page, name) {
  await page.getByRole('link', { name }).click();
  await page.waitForSelector('figure[data-chart] canvas');
  await settled(page);
}

/** Waits until a chart has drawn an answer. */
export async function settled(page) {
  await until(() => page.locator('figure .stats').first().innerText().then((t) => /sample/.test(t), () => false), 'an answer in the first chart');
}

export async function shot(page, name, full = false) {
  mkdirSync(shots, { recursive: true });
  await page.screenshot({ path: `${shots}${name}.png`, fullPage: full });
}

/** Runs axe on the page as it stands and fails on any violation. It comes by the debugger, so the policy holds. */
export async function axe(page, where) {
  await page.evaluate(axeSource);
  const violations = await page.evaluate(async () => {
    const r = await globalThis.axe.run(document, { runOnly: { type: 'tag', values: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] } });
    return r.violations.map((v) => `${v.id}: ${v.help}\n    ${v.nodes.slice(0, 4).map((n) => `${n.target.join(' ')} ${n.any.map((a) => a.message).join('; ')}`).join('\n    ')}`);
  });
  check(violations.length === 0, `axe on ${where}:\n  ${violations.join('\n  ')}`);
}

/** No sideways scrolling: nothing is wider than the window. */
export async function fits(page, where) {
  const wide = await page.evaluate(() => {
    const w = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= w) return '';
    const worst = [...document.querySelectorAll('body *')].filter((e) => e.getBoundingClientRect().right > w + 1).slice(-3);
    return `${document.documentElement.scrollWidth} > ${w}: ${worst.map((e) => `${e.tagName}.${e.className}`).join(', ')}`;
  });
  equal(wide, '', `${where} fits`);
}

export async function launch(hub) {
  const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';
  const args = [`--ignore-certificate-errors-spki-list=${hub.pin}`];
  if (process.getuid?.() === 0) args.push('--no-sandbox'); // Chromium's own sandbox does not work as root
  return chromium.launch({ executablePath, args });
}

/** Runs the tests one after the other, those whose name has `only` in it. Returns how many failed. */
export async function runAll(bench, only) {
  rmSync(shots, { recursive: true, force: true });
  let passed = 0;
  let failed = 0;
  for (const t of tests.filter((t) => t.name.includes(only))) {
    const start = Date.now();
    try {
      await limit(t.run(bench), 120_000);
      await bench.closePages();
      passed++;
      console.log(`ok      ${t.name} (${Date.now() - start} ms)`);
    } catch (e) {
      failed++;
      console.log(`FAILED  ${t.name}: ${e.stack}`);
      const last = bench.open.at(-1)?.page;
      if (last) await shot(last, `failed-${t.name.replaceAll(/\W+/g, '-')}`).catch(() => {});
      await bench.closePages().catch(() => {});
    }
  }
  console.log(`${passed} passed, ${failed} failed`);
  return passed === 0 ? 1 : failed;
}

function limit(work, ms) {
  let timer;
  const late = new Promise((_, fail) => (timer = setTimeout(() => fail(new Error(`not done in ${ms} ms`)), ms)));
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}
