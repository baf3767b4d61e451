// A program without a browser is logged in by a person who has one.

import { axe, check, equal, fits, phone, test } from '../harness.mjs';

/** What `loggerhead login` does, from outside the page's own session. */
const ask = (page) =>
  page.evaluate(() =>
    fetch('/api/v1/pairings', { method: 'POST', credentials: 'omit', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ client: 'loggerhead on field-laptop' }) }).then((r) => r.json()),
  );
const finish = (page, { code, secret }) =>
  page.evaluate(
    (body) => fetch('/api/v1/pairings/finish', { method: 'POST', credentials: 'omit', headers: { 'Content-Type': 'application/json' }, body }).then(async (r) => ({ status: r.status, ...(await r.json()) })),
    JSON.stringify({ code, secret }),
  );

test('a program is logged in by its code, once somebody allowed it', async (b) => {
  const page = await b.loggedIn('viewer');
  const asked = await ask(page);
  equal((await finish(page, asked)).pending, true, 'nobody has answered yet');
  await page.goto(`${b.hub.url}/pair/${asked.code}`);
  await page.getByText('loggerhead on field-laptop').waitFor();
  check(await page.getByText(asked.code).isVisible(), 'the code is shown, to be compared');
  await axe(page, 'the page of a pairing');
  await page.setViewportSize(phone.viewport);
  await fits(page, 'the page of a pairing');
  await page.getByRole('button', { name: 'Allow' }).click();
  await page.getByText('It is logged in as').waitFor();
  const done = await finish(page, asked);
  check(/^lhs_/.test(done.token), `the program has a session: ${done.status}`);
  equal((await finish(page, asked)).status, 401, 'a second try');
});

test('what was refused gets nothing, and a code of nobody is told', async (b) => {
  const page = await b.loggedIn('viewer');
  const asked = await ask(page);
  await page.goto(`${b.hub.url}/pair/${asked.code}`);
  await page.getByRole('button', { name: 'Refuse' }).click();
  await page.getByText('It was refused').waitFor();
  equal((await finish(page, asked)).status, 401, 'the program');
  await page.goto(`${b.hub.url}/pair/BBBB-BBBB`);
  await page.getByText('no program waits').waitFor();
});
