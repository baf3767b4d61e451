// Every page, light and dark, wide and narrow: without a violation that axe knows, and without sideways scrolling.

import { axe, check, desktop, fits, openDevice, phone, settled, shot, test, until } from '../harness.mjs';

const looks = {
  light: { ...desktop, colorScheme: 'light' },
  dark: { ...desktop, colorScheme: 'dark' },
  phone: { ...phone, colorScheme: 'light' },
  'phone-dark': { ...phone, colorScheme: 'dark', reducedMotion: 'reduce' },
};

for (const [look, options] of Object.entries(looks)) {
  test(`every page is well made: ${look}`, async (b) => {
    const page = await b.page(options);
    const see = async (name, full) => {
      await page.waitForTimeout(200);
      await fits(page, name);
      await axe(page, `${name}, ${look}`);
      await shot(page, `${look}-${name}`, full);
    };
    await page.goto(b.hub.url);
    await page.waitForSelector('form');
    const dark = await page.evaluate(() => getComputedStyle(document.body).backgroundColor.match(/\d+/g).slice(0, 3).every((c) => Number(c) < 64));
    check(dark === look.includes('dark'), `the page is ${dark ? 'dark' : 'light'}`);
    await see('log-in');
    await page.getByLabel('E-mail').fill('a@b.example');
    await page.getByLabel('Password').fill('wrong');
    await page.getByRole('button', { name: 'Log in' }).click();
    await page.locator('#wrong').waitFor();
    await see('log-in-refused');
    await page.getByLabel('E-mail').fill(b.hub.logins.owner.email);
    await page.getByLabel('Password').fill(b.hub.logins.owner.password);
    await page.getByRole('button', { name: 'Log in' }).click();
    await page.waitForSelector('article[data-device]');
    await until(() => page.locator('.spark path').count().then((n) => n > 3), 'the small series');
    await see('project', true);
    await page.getByRole('button', { name: 'Add a device' }).click();
    await see('add-device');
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    await page.getByRole('link', { name: 'Members' }).click();
    await page.getByRole('table').waitFor();
    await see('members');
    await page.getByRole('link', { name: 'Devices' }).click();
    await openDevice(page, 'Station Borris Krog');
    await see('device', true);
    await page.getByRole('button', { name: 'Edit' }).click();
    await see('edit-device');
    await page.getByRole('button', { name: 'Cancel' }).click();
    await page.getByRole('button', { name: 'Table' }).click();
    await page.getByRole('table').waitFor();
    await see('table');
    await page.getByRole('link', { name: 'Devices' }).click();
    await openDevice(page, 'Choptank River 2012');
    await see('device-old', true);
    await page.getByRole('button', { name: 'Last 1 h' }).click();
    await page.getByText('No samples in this range').first().waitFor();
    await see('device-empty');
    await page.goto(`${b.hub.url}/no/such/page`);
    await page.getByRole('heading', { name: 'There is no such page' }).waitFor();
    await see('no-such-page');
  });
}

test('a finger moves a chart sideways on a phone', async (b) => {
  const page = await b.loggedIn('viewer', phone);
  await openDevice(page, 'Station Borris Krog');
  const figure = page.locator('figure').first();
  const before = Number(await figure.getAttribute('data-from'));
  const box = await page.locator('.u-over').first().boundingBox();
  const cdp = await page.context().newCDPSession(page);
  const touch = (type, x) => cdp.send('Input.dispatchTouchEvent', { type, touchPoints: type === 'touchEnd' ? [] : [{ x: box.x + x, y: box.y + box.height / 2 }] });
  await touch('touchStart', box.width * 0.2);
  for (let i = 1; i <= 8; i++) await touch('touchMove', box.width * (0.2 + i * 0.06));
  await touch('touchEnd');
  await until(async () => Number(await figure.getAttribute('data-from')) < before - 3600_000, 'an earlier range');
  await settled(page);
});

test('windows from 320 to 1920 px fit', async (b) => {
  const page = await b.loggedIn('owner');
  for (const width of [320, 390, 600, 800, 1100, 1920]) {
    await page.setViewportSize({ width, height: 800 });
    await fits(page, `project at ${width}`);
  }
  await openDevice(page, 'Station Skjern Enge');
  for (const width of [1920, 1100, 800, 600, 390, 320]) {
    await page.setViewportSize({ width, height: 800 });
    await until(() => page.evaluate(() => document.documentElement.scrollWidth <= document.documentElement.clientWidth), `a device page that fits ${width} px`, 3000);
  }
});
