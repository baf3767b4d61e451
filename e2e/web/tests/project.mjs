import { check, equal, test, until } from '../harness.mjs';

test('the project shows three devices online, with what they last measured', async (b) => {
  const page = await b.loggedIn('viewer');
  for (const name of ['Station Borris Krog', 'Station Skjern Enge', 'Choptank River 2012 (USGS replay)']) {
    const card = page.locator('article', { has: page.getByRole('link', { name }) });
    await card.getByText('Online', { exact: true }).waitFor();
    check(/Seen (just now|\d+\ss ago)/.test(await card.innerText()), `${name} says when it was seen`);
  }
  const borris = page.locator('article', { hasText: 'Station Borris Krog' });
  check(/1[0-5]\.\d\d\sV/.test(await borris.locator('[data-battery]').innerText()), 'the battery is in volts');
  check(/Borris Krog/.test(await borris.locator('.meta').innerText()), 'the location is named');
  const text = await borris.innerText();
  for (const unit of [/\d\sm\b/, /\s°C/, /µS\/cm/, /\smm/]) check(unit.test(text), `units as people write them: ${unit} in ${text}`);
  check(/ft³\/s/.test(await page.locator('article', { hasText: 'Choptank' }).innerText()), 'cubic feet, too');
  check(/samples? with an impossible time/.test(await page.locator('article', { hasText: 'Skjern Enge' }).innerText()), 'wrong clocks are told');
});

test('a new sample is on the project page within 2 s of the sensor', async (b) => {
  const page = await b.loggedIn('viewer');
  const delays = await newSamples(page.locator('article', { hasText: 'Borris Krog' }).locator('.value[data-time]').first(), 5);
  console.log(`metric=sample_to_project_page_ms value=${Math.max(...delays)} unit=ms`);
  check(Math.max(...delays) < 2000, `delays of ${delays} ms`);
});

test('relative times go on by themselves', async (b) => {
  const page = await b.loggedIn('viewer');
  const time = page.locator('article', { hasText: 'Borris' }).locator('.meta time');
  const before = await time.innerText();
  await until(async () => (await time.innerText()) !== before, 'another age', 8000);
});

test('a viewer has no controls to change anything, and the hub would refuse', async (b) => {
  const page = await b.loggedIn('viewer');
  equal(await page.getByRole('button', { name: 'Add a device' }).count(), 0, 'buttons to add a device');
  equal(await page.getByRole('link', { name: 'Members' }).count(), 0, 'links to the members');
  await page.getByRole('link', { name: 'Station Borris Krog' }).click();
  await page.waitForSelector('figure canvas');
  equal(await page.getByRole('button', { name: 'Edit' }).count(), 0, 'buttons to edit');
  const [, , project, , device] = new URL(page.url()).pathname.split('/');
  const refused = await page.evaluate(
    ([p, d]) => fetch(`/api/v1/projects/${p}/devices/${d}`, { method: 'PATCH', headers: { 'Content-Type': 'application/json' }, body: '{"name":"mine"}' }).then((r) => r.status),
    [project, device],
  );
  equal(refused, 403, 'status of a change');
});

test('an owner sees the members', async (b) => {
  const page = await b.loggedIn('owner');
  await page.getByRole('link', { name: 'Members' }).click();
  await page.getByRole('cell', { name: b.hub.logins.viewer.email }).waitFor();
  await page.getByRole('cell', { name: 'owner', exact: true }).waitFor();
});

test('an owner renames a device and moves it, and everybody sees it', async (b) => {
  const page = await b.loggedIn('owner');
  await page.getByRole('link', { name: 'Choptank River 2012' }).click();
  const rename = async (name, place) => {
    await page.getByRole('button', { name: 'Edit' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel('Name').fill(name);
    await dialog.getByLabel('Location').selectOption({ label: place });
    await dialog.getByRole('button', { name: 'Save' }).click();
    await dialog.waitFor({ state: 'detached' });
    await page.getByRole('heading', { name, exact: true }).waitFor();
  };
  await rename('Choptank <b>renamed</b>', 'Skjern Enge');
  const other = await b.loggedIn('viewer');
  await other.getByRole('link', { name: 'Choptank <b>renamed</b>' }).waitFor();
  check(/Skjern Enge/.test(await other.locator('article', { hasText: 'renamed' }).innerText()), 'at its new place');
  await rename('Choptank River 2012 (USGS replay)', 'None');
});

/** Delays, in ms, between the time of a sample and its being on the page, for the next n samples that a value shows. */
export async function newSamples(value, n) {
  const selector = `.value[data-element="${await value.getAttribute('data-element')}"]`;
  return value.page().evaluate(
    ([selector, n]) =>
      new Promise((done, fail) => {
        const delays = [];
        const of = () => Number(document.querySelector(selector)?.getAttribute('data-time'));
        let last = of();
        const late = setTimeout(() => fail(new Error(`only ${delays.length} new samples`)), 30_000);
        const watch = new MutationObserver(() => {
          const t = of();
          if (!(t > last)) return;
          last = t;
          delays.push(Date.now() - t);
          if (delays.length < n) return;
          clearTimeout(late);
          watch.disconnect();
          done(delays);
        });
        watch.observe(document.body, { subtree: true, childList: true, attributes: true, characterData: true });
      }),
    [selector, n],
  );
}
