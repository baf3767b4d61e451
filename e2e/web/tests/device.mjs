import { check, equal, openDevice, settled, test, until } from '../harness.mjs';
import { newSamples } from './project.mjs';

/** Ranges of the series the page asks the hub for. */
function questions(page) {
  const asked = [];
  page.on('request', (r) => {
    const u = new URL(r.url());
    if (!u.pathname.endsWith('/series')) return;
    const n = (k) => Number(u.searchParams.get(k));
    asked.push({ from: n('from'), to: n('to'), points: n('points'), format: u.searchParams.get('format') });
  });
  return asked;
}

const plot = (page, i = 0) => page.locator('figure .u-over').nth(i);

async function drag(page, from, to, key) {
  const box = await plot(page).boundingBox();
  if (key) await page.keyboard.down(key);
  await page.mouse.move(box.x + box.width * from, box.y + box.height / 2);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * to, box.y + box.height / 2 + 3, { steps: 6 });
  await page.mouse.up();
  if (key) await page.keyboard.up(key);
}

const range = async (page) => {
  const f = page.locator('figure').first();
  return { from: Number(await f.getAttribute('data-from')), to: Number(await f.getAttribute('data-to')) };
};

test('a device page draws a chart of each kind of element, in the zone of its place', async (b) => {
  const page = await b.loggedIn('viewer');
  const asked = questions(page);
  await openDevice(page, 'Station Borris Krog');
  for (const name of ['Water level', 'Water temperature', 'Conductivity', 'Rain', 'Battery']) {
    await page.locator('figure').getByRole('heading', { name: new RegExp(name) }).first().waitFor();
  }
  equal(await page.locator('figure canvas').count(), 5, 'charts');
  const inked = await page.locator('figure canvas').evaluateAll((all) =>
    all.map((c) => {
      const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
      let n = 0;
      for (let i = 0; i < d.length; i += 4) if (d[i + 3] > 0 && Math.max(d[i], d[i + 1], d[i + 2]) - Math.min(d[i], d[i + 1], d[i + 2]) > 60) n++;
      return n;
    }),
  );
  inked.forEach((n, i) => check(i === 3 || n > 200, `chart ${i} has ${n} coloured pixels`));
  // The browser is in Tokyo and the river in Denmark.
  check(/^Europe\/Copenhagen \(UTC\+[12]\)$/.test(await page.locator('[data-zone]').innerText()), 'the zone is the place’s, and named');
  const series = asked.filter((q) => q.points > 1000);
  check(series.length >= 1 && series[0].format === 'columns', 'series come as columns');
  const width = (await page.locator('.charts').boundingBox()).width;
  check(Math.abs(series[0].points - 2 * width) <= 0.1 * width, `${series[0].points} points at ${width} px`);
});

test('a new sample is on the device page within 2 s of the sensor, and in its chart', async (b) => {
  const page = await b.loggedIn('viewer');
  await openDevice(page, 'Station Borris Krog');
  await page.getByRole('button', { name: 'Last 15 min' }).click();
  await settled(page);
  // Not how many there are: the window slides, so as many leave it as come in.
  const plotted = async () => Number(await page.locator('figure .stats').first().getAttribute('data-newest'));
  const before = await plotted();
  const delays = await newSamples(page.locator('figure .value[data-time]').first(), 6);
  console.log(`metric=sample_to_device_page_ms value=${Math.max(...delays)} unit=ms`);
  check(Math.max(...delays) < 2000, `delays of ${delays} ms`);
  const after = await plotted();
  check(before > 0 && after > before, `the newest sample in the chart is of ${after}, before it was of ${before}`);
  const r = await range(page);
  check(Date.now() - r.to < 3000 && r.to - r.from === 15 * 60_000, 'the range has moved with the time');
});

test('a drag asks the hub for that range; double-click and Back zoom out', async (b) => {
  const page = await b.loggedIn('viewer');
  await openDevice(page, 'Station Borris Krog');
  const before = await range(page);
  const asked = questions(page);
  await drag(page, 0.4, 0.6);
  const q = await until(() => asked[0], 'a question for the zoomed range');
  const span = before.to - before.from;
  check(Math.abs(q.to - q.from - 0.2 * span) < 0.02 * span, `asked for ${(q.to - q.from) / span} of the range`);
  check(Math.abs(q.from - before.from - 0.4 * span) < 0.02 * span, 'at the place of the drag');
  check(q.points > 500, `at ${q.points} points`);
  const zoomed = await range(page);
  check(zoomed.to - zoomed.from < 0.25 * span, 'the chart shows the narrower range');
  equal(asked.length, 1, 'questions: one chart of five told of the drag');

  await drag(page, 0.2, 0.7);
  await until(() => asked.length === 2, 'a second question');
  const box = await plot(page).boundingBox();
  await page.mouse.dblclick(box.x + box.width / 2, box.y + box.height / 2);
  await until(async () => (await range(page)).from === zoomed.from, 'a double-click back to the first zoom');
  await page.goBack();
  await until(async () => Math.abs((await range(page)).from - before.from) < 60_000, 'Back to before the zoom');
  check(await page.locator('figure').first().isVisible(), 'still on the page');
});

test('a zoom can be kept and sent as an address', async (b) => {
  const page = await b.loggedIn('viewer');
  await openDevice(page, 'Station Borris Krog');
  await drag(page, 0.3, 0.5);
  await until(() => page.url().includes('from='), 'the range in the address');
  const r = await range(page);
  await page.reload();
  await page.waitForSelector('figure canvas');
  await settled(page);
  equal(await range(page), r, 'the range after a reload');
  await page.goto(page.url().replace(/\?.*/, '?from=9&to=bogus'));
  await page.waitForSelector('figure canvas');
  await settled(page);
});

test('charts work by keyboard', async (b) => {
  const page = await b.loggedIn('viewer');
  await openDevice(page, 'Station Borris Krog');
  const chart = page.getByRole('group', { name: /Chart of Water level/ });
  await chart.focus();
  const a = await range(page);
  await page.keyboard.press('+');
  await until(async () => { const r = await range(page); return Math.abs((r.to - r.from) / (a.to - a.from) - 0.5) < 0.01; }, 'half the range');
  const z = await range(page);
  await page.keyboard.press('ArrowLeft');
  await until(async () => (await range(page)).from < z.from, 'an earlier range');
  await page.keyboard.press('Escape');
  await page.keyboard.press('Escape');
  await until(async () => { const r = await range(page); return r.to - r.from === a.to - a.from; }, 'the range before');
});

test('shift and drag moves the range', async (b) => {
  const page = await b.loggedIn('viewer');
  await openDevice(page, 'Station Borris Krog');
  const a = await range(page);
  await drag(page, 0.3, 0.55, 'Shift');
  await until(async () => (await range(page)).from < a.from - 0.2 * (a.to - a.from), 'an earlier range');
  const r = await range(page);
  check(Math.abs(r.to - r.from - (a.to - a.from)) < 5000, 'as long as before');
});

test('the cursor tells values at one time in all charts', async (b) => {
  const page = await b.loggedIn('viewer');
  await openDevice(page, 'Station Borris Krog');
  const box = await plot(page).boundingBox();
  await page.mouse.move(box.x + box.width * 0.5, box.y + box.height / 2);
  const when = page.locator('figure .line small:not(.stats)');
  const texts = await until(async () => {
    const t = await when.allInnerTexts();
    return t.filter((x) => /\d{4}, \d\d:\d\d/.test(x)).length >= 4 && t;
  }, 'times in every chart');
  check(new Set(texts.filter((x) => !x.includes(' to ')).map((x) => x.slice(0, 17))).size <= 2, `one time: ${texts}`);
});

test('a device with old data opens on them', async (b) => {
  const page = await b.loggedIn('viewer');
  await openDevice(page, 'Choptank River 2012');
  const r = await range(page);
  check(new Date(r.from).getUTCFullYear() <= 2012 && new Date(r.to).getUTCFullYear() === 2012, `opened on ${new Date(r.from).toISOString()}`);
  check(/ft³\/s/.test(await page.locator('figure', { hasText: 'Discharge' }).innerText()), 'in cubic feet per second');
  equal(await page.locator('figure').count(), 2, 'charts: both temperatures share one');
  await page.getByRole('button', { name: 'Last 1 h' }).click();
  await page.getByText('No samples in this range').first().waitFor();
  await page.getByRole('button', { name: 'To the newest data' }).click();
  await until(async () => new Date((await range(page)).to).getUTCFullYear() === 2012, 'the newest data');
  await settled(page);
});

test('the samples can be read as a table, and taken away as CSV', async (b) => {
  const page = await b.loggedIn('viewer');
  await openDevice(page, 'Station Borris Krog');
  await page.getByRole('button', { name: 'Last 1 h' }).click();
  await page.getByRole('button', { name: 'Table' }).click();
  await page.getByRole('columnheader', { name: /Water level.*, m/ }).waitFor();
  check((await page.locator('tbody tr').count()) > 50, 'rows');
  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('link', { name: 'CSV' }).click()]);
  const csv = (await import('node:fs')).readFileSync(await download.path(), 'utf8').split('\n');
  equal(csv[0], 'time,element_id,value,flag', 'the first line');
  const times = csv.slice(1, -1).map((l) => Date.parse(l.split(',')[0]));
  check(times.length > 3600, `${times.length} samples of an hour of seconds, none left out for the charts' sake`);
  check(Math.min(...times) > Date.now() - 3700_000, 'of the range shown');
});
