// What people see when something does not work. The faults are made on the wire or in the browser; the rest is real.

import { check, equal, logIn, openDevice, settled, test, until } from '../harness.mjs';
import { proxy } from '../proxy.mjs';
import { newSamples } from './project.mjs';

for (const [how, act] of [['cut off', 'cut'], ['dead in silence', 'stall']]) {
  test(`a connection ${how} is told, and made up for when it is back`, async (b) => {
    const wire = await proxy(b.hub.url);
    try {
      const page = await b.page();
      await page.goto(wire.url);
      await logIn(page, b.hub.logins.viewer);
      await page.waitForSelector('article[data-device]');
      await openDevice(page, 'Station Borris Krog');
      await page.getByRole('button', { name: 'Last 15 min' }).click();
      await settled(page);
      wire[act]();
      // Nothing says that a silent connection is dead but the pings that fail to come.
      await page.getByText('The connection to the hub is lost').waitFor({ timeout: 50_000 });
      check(await page.locator('figure').first().isVisible(), 'what was there stays');
      const again = page.waitForResponse((r) => r.url().includes('/series') && r.ok(), { timeout: 45_000 });
      wire.heal();
      await again; // what was missed is read
      await newSamples(page.locator('figure .value[data-time]').first(), 2);
      equal(await page.getByText('The connection to the hub is lost').count(), 0, 'notices of a lost connection');
    } finally {
      wire.close();
    }
  });
}

test('series that take long show progress, and errors can be tried again', async (b) => {
  const page = await b.loggedIn('viewer');
  let mode = 'slow';
  await page.route('**/series?**', async (r) => {
    if (!r.request().url().includes('points=160')) {
      if (mode === 'slow') await new Promise((done) => setTimeout(done, 2500));
      if (mode === 'broken') {
        return r.fulfill({ status: 503, contentType: 'application/problem+json', headers: { 'Retry-After': '10' }, body: JSON.stringify({ code: 'unavailable', status: 503, detail: 'the hub cannot do this right now; try again later' }) });
      }
      if (mode === 'garbage') return r.fulfill({ status: 200, contentType: 'application/vnd.loggerhead.columns', body: Buffer.from('LHC1\xff\xff\xff\xffnonsense', 'latin1') });
    }
    return r.continue();
  });
  await page.getByRole('link', { name: 'Station Borris Krog' }).click();
  await page.getByRole('progressbar').waitFor({ timeout: 5000 });
  await settled(page);
  equal(await page.getByRole('progressbar').count(), 0, 'progress bars when it is there');
  for (mode of ['broken', 'garbage']) {
    const broken = mode;
    await page.getByRole('button', { name: broken === 'broken' ? 'Last 7 d' : 'Last 30 d' }).click();
    await page.getByRole('alert').getByRole('button', { name: 'Try again' }).waitFor();
    mode = 'well';
    await page.getByRole('button', { name: 'Try again' }).click();
    await until(async () => (await page.getByRole('alert').count()) === 0, 'no more error');
    await settled(page);
  }
});

test('a hub out of reach at the start can be tried again', async (b) => {
  const page = await b.page();
  await page.route('**/api/v1/session', (r) => r.abort('connectionrefused'));
  await page.goto(b.hub.url);
  await page.getByText('The hub cannot be reached.').waitFor();
  await page.unroute('**/api/v1/session');
  await page.getByRole('button', { name: 'Try again' }).click();
  await page.getByLabel('E-mail').waitFor();
});
