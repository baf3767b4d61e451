import { check, equal, logIn, test, until } from '../harness.mjs';

const status = (page, path) => page.evaluate((p) => fetch(p).then((r) => r.status), path);

test('wrong password is refused in words, the right one opens the project', async (b) => {
  const page = await b.page();
  await page.goto(b.hub.url);
  await page.waitForSelector('form'); // the page is asked for before it is known who asks
  check((await page.title()).startsWith('Log in'), 'the title says what page this is');
  await logIn(page, { ...b.hub.logins.owner, password: 'not the password' });
  const alert = page.getByRole('alert').filter({ hasText: 'do not fit' });
  await alert.waitFor();
  equal(await page.getByLabel('Password').inputValue(), '', 'the wrong password is gone');
  equal(await page.getByLabel('E-mail').inputValue(), b.hub.logins.owner.email, 'the address stays');
  equal(await page.evaluate(() => document.activeElement?.getAttribute('name')), 'password', 'the cursor stands in the password');
  await page.getByLabel('Password').fill(b.hub.logins.owner.password);
  await page.keyboard.press('Enter');
  await page.waitForSelector('article[data-device]');
  check(/\/p\/prj_/.test(page.url()), `who has one project is taken to it, not to ${page.url()}`);
});

test('log-in by keyboard alone', async (b) => {
  const page = await b.page();
  await page.goto(b.hub.url);
  await page.waitForSelector('form');
  const type = async (name, text) => {
    for (let i = 0; i < 10; i++) {
      await page.keyboard.press('Tab');
      if ((await page.evaluate(() => document.activeElement?.getAttribute('name'))) === name) return page.keyboard.type(text);
    }
    throw new Error(`Tab does not reach ${name}`);
  };
  await type('email', b.hub.logins.viewer.email);
  await type('password', b.hub.logins.viewer.password);
  await page.keyboard.press('Tab');
  await page.keyboard.press('Space');
  await page.waitForSelector('article[data-device]');
});

test('too many tries are stopped in words', async (b) => {
  const page = await b.page();
  await page.goto(b.hub.url);
  await page.waitForSelector('form');
  for (let i = 0; i < 12; i++) {
    await logIn(page, { email: 'nobody@demo.example', password: `guess number ${i}` });
    await until(async () => (await page.getByRole('button', { name: 'Log in', exact: true }).isEnabled()) && (await page.locator('#wrong').count()) > 0, 'an answer');
    if (/Too many tries/.test(await page.locator('#wrong').innerText())) return;
  }
  throw new Error('twelve wrong tries were answered alike');
});

test('the session is a cookie that scripts cannot read, and lasts over a reload', async (b) => {
  const page = await b.loggedIn('owner');
  equal(await page.evaluate(() => document.cookie), '', 'what scripts see of cookies');
  equal(await page.evaluate(() => Object.keys(localStorage).length + Object.keys(sessionStorage).length), 0, 'what scripts keep');
  const [cookie] = await page.context().cookies();
  check(cookie.httpOnly && cookie.secure && cookie.sameSite !== 'None', `the cookie is safe: ${JSON.stringify({ ...cookie, value: '' })}`);
  await page.reload();
  await page.waitForSelector('article[data-device]');
});

test('after log-out nothing is readable', async (b) => {
  const page = await b.loggedIn('owner');
  const project = new URL(page.url()).pathname.split('/')[2];
  await page.getByRole('link', { name: 'Station Borris Krog' }).click();
  await page.waitForSelector('figure canvas');
  await page.getByRole('button', { name: 'Log out' }).click();
  await page.getByLabel('E-mail').waitFor();
  const readable = () => page.evaluate(() => /Borris|Enge|Choptank|Skjern|DEMO-/.test(document.documentElement.innerHTML));
  check(!(await readable()), 'nothing of the project is left on the page');
  for (const path of ['', '/devices', '/latest', '/live', '/members', '/elements']) {
    equal(await status(page, `/api/v1/projects/${project}${path}`), 401, `status of the project's ${path || 'name'}`);
  }
  await page.goBack();
  await page.getByLabel('E-mail').waitFor();
  check(!(await readable()), 'going back shows nothing either');
});

test('a log-out in one tab ends the other', async (b) => {
  const one = await b.loggedIn('viewer');
  const two = await one.context().newPage();
  await two.goto(b.hub.url);
  await two.waitForSelector('article[data-device]');
  await one.getByRole('button', { name: 'Log out' }).click();
  await two.getByLabel('E-mail').waitFor();
  check(await two.getByText('Your session has ended').isVisible(), 'the other tab says why');
});

test('an address without a meaning says so', async (b) => {
  const page = await b.loggedIn('owner');
  await page.goto(`${b.hub.url}/no/such/page`);
  await page.getByRole('heading', { name: 'There is no such page' }).waitFor();
  await page.goto(`${b.hub.url}/p/prj_0000000000000000`);
  await page.getByText('There is no such project, or it is not yours to see.').waitFor();
});
