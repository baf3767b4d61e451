// Second factors, passkeys and recovery codes, as people set them up and log in with them. The passkeys are made and
// used by Chromium's own virtual authenticator.

import { execFileSync } from 'node:child_process';
import { createHmac, randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { axe, check, desktop, equal, fits, logIn, phone, shot, test, until } from '../harness.mjs';
import { program } from '../hub.mjs';

/** Somebody new, whom no other test knows. */
function person(hub) {
  const email = `${randomBytes(6).toString('hex')}@security.example`;
  const password = randomBytes(12).toString('hex');
  execFileSync(program('loggerhead'), ['user', 'add', '-c', join(hub.data, 'hub', 'loggerhead.yaml'), email, '--name', 'Ana'], { input: password + '\n' });
  return { email, password };
}

/** The code that an authenticator app shows for a base32 key: RFC 6238. */
function codeOf(key, step = Math.floor(Date.now() / 30_000)) {
  const bits = [...key.replaceAll(' ', '')].map((c) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(c).toString(2).padStart(5, '0')).join('');
  const secret = Buffer.from(bits.match(/.{8}/g).map((b) => Number.parseInt(b, 2)));
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(step));
  const mac = createHmac('sha1', secret).update(counter).digest();
  return String((mac.readUInt32BE(mac[19] & 15) & 0x7fffffff) % 1_000_000).padStart(6, '0');
}

/** The code of a time step that comes after the one of `used`: each is good once. */
async function nextCode(key, used) {
  await until(() => codeOf(key) !== used, 'the next code', 40_000);
  return codeOf(key);
}

const inside = (page) => page.getByRole('button', { name: 'Log out' }).waitFor();

async function opened(b, who, options) {
  const page = await b.page(options);
  await page.goto(b.hub.url);
  await logIn(page, who);
  await inside(page);
  await page.goto(b.hub.url + '/security');
  await page.getByRole('heading', { name: 'Authenticator app' }).waitFor();
  return page;
}

async function confirm(page, password) {
  const dialog = page.getByRole('dialog', { name: 'Confirm that it is you' });
  await dialog.getByLabel('Password').fill(password);
  await dialog.getByRole('button', { name: 'Confirm', exact: true }).click();
  return dialog;
}

/** Gives the page a security key that asks for nothing and verifies everybody. */
async function virtualKey(page, options = {}) {
  const cdp = await page.context().newCDPSession(page);
  await cdp.send('WebAuthn.enable');
  const { authenticatorId } = await cdp.send('WebAuthn.addVirtualAuthenticator', {
    options: { protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true, ...options },
  });
  return { cdp, authenticatorId };
}

test('an authenticator app is set up, asked for, and removed', async (b) => {
  const who = person(b.hub);
  const page = await opened(b, who);
  await axe(page, 'security');
  await page.getByRole('button', { name: 'Set up an app' }).click();
  let dialog = await confirm(page, 'not the password');
  await dialog.getByText('The password is wrong').waitFor();
  await axe(page, 'confirming');
  await confirm(page, who.password);
  const setup = page.getByRole('dialog', { name: 'Set up an authenticator app' });
  const qr = setup.getByRole('img', { name: /QR code/ });
  await qr.waitFor();
  const box = await qr.boundingBox();
  check(box.width > 120 && box.height > 120, `the QR code can be scanned: ${JSON.stringify(box)}`);
  const key = (await setup.locator('code').innerText()).replaceAll(' ', '');
  check(/^[A-Z2-7]{32}$/.test(key), `the key can be typed: ${key}`);
  await axe(page, 'setting up an app');
  await shot(page, 'security-app');
  await setup.getByRole('textbox', { name: 'Code' }).fill('000000');
  await setup.getByRole('button', { name: 'Set up' }).click();
  await setup.locator('#app-wrong').waitFor();
  const first = codeOf(key);
  await setup.getByRole('textbox', { name: 'Code' }).fill(first);
  await setup.getByRole('button', { name: 'Set up' }).click();
  const kept = page.getByRole('dialog', { name: 'Keep your recovery codes' });
  await kept.getByRole('listitem').first().waitFor();
  const codes = await kept.getByRole('listitem').allInnerTexts();
  equal(codes.length, 10, 'recovery codes');
  await axe(page, 'recovery codes');
  await shot(page, 'security-codes');
  await kept.getByRole('button', { name: 'I have kept them' }).click();
  await page.getByText('10 of 10 are left').waitFor();
  await page.getByRole('button', { name: 'Log out' }).click();

  await logIn(page, who);
  const code = page.getByLabel('Code of the authenticator app');
  await code.waitFor();
  equal((await page.context().cookies()).length, 0, 'half a log-in has no cookie');
  equal(await page.evaluate(() => fetch('/api/v1/session').then((r) => r.status)), 401, 'half a log-in is none');
  await axe(page, 'the second step');
  await shot(page, 'log-in-factor');
  await code.fill(first);
  await page.getByRole('button', { name: 'Log in', exact: true }).click();
  await page.locator('#wrong').waitFor(); // the code was used
  const second = await nextCode(key, first);
  await code.fill(second);
  await page.keyboard.press('Enter');
  await inside(page);
  await page.getByRole('button', { name: 'Log out' }).click();

  await logIn(page, who);
  await page.getByRole('button', { name: 'Use a recovery code' }).click();
  await page.getByLabel('Recovery code').fill(codes[0].toUpperCase());
  await page.getByRole('button', { name: 'Log in', exact: true }).click();
  await inside(page);
  await page.goto(b.hub.url + '/security');
  await page.getByText('9 of 10 are left').waitFor();
  await page.getByRole('button', { name: 'Remove the app' }).click();
  dialog = page.getByRole('dialog', { name: 'Confirm that it is you' });
  await dialog.getByLabel('Password').fill(who.password);
  await dialog.getByRole('button', { name: 'Use a recovery code' }).click();
  await dialog.getByLabel('Recovery code').fill(codes[1]);
  await dialog.getByRole('button', { name: 'Confirm', exact: true }).click();
  await page.getByText('The authenticator app is removed.').waitFor();
  await page.getByRole('button', { name: 'Log out' }).click();
  await logIn(page, who);
  await inside(page);
});

test('a passkey is made by the browser, logs in alone and after the password, and is removed', async (b) => {
  const who = person(b.hub);
  const page = await b.page();
  const key = await virtualKey(page);
  await page.goto(b.hub.url);
  await logIn(page, who);
  await inside(page);
  await page.goto(b.hub.url + '/security');
  await page.getByRole('button', { name: 'Add a passkey' }).click();
  const naming = page.getByRole('dialog', { name: 'Add a passkey' });
  await naming.getByLabel('Name').fill('Laptop');
  await axe(page, 'naming a passkey');
  await naming.getByRole('button', { name: 'Go on' }).click();
  await confirm(page, who.password);
  await page.getByRole('dialog', { name: 'Keep your recovery codes' }).getByRole('button', { name: 'I have kept them' }).click();
  await page.getByText('The passkey “Laptop” is added.').waitFor();
  const { credentials } = await key.cdp.send('WebAuthn.getCredentials', { authenticatorId: key.authenticatorId });
  equal([credentials.length, credentials[0].isResidentCredential, credentials[0].rpId], [1, true, new URL(b.hub.url).hostname], 'what the browser has made');
  await axe(page, 'security with a passkey');
  await shot(page, 'security-passkey', true);
  await page.getByRole('button', { name: 'Log out' }).click();

  await page.getByRole('button', { name: 'Use a passkey' }).click();
  await inside(page);
  equal(await page.evaluate(() => fetch('/api/v1/session').then((r) => r.json()).then((s) => s.proof)), 'passkey', 'how the session was begun');
  await page.getByRole('button', { name: 'Log out' }).click();

  await logIn(page, who);
  await page.getByText('asks for a second factor').waitFor();
  await page.getByRole('button', { name: 'Use a passkey' }).click();
  await inside(page);
  await page.goto(b.hub.url + '/security');
  await page.getByRole('button', { name: 'Rename Laptop' }).click();
  await page.getByRole('dialog', { name: 'Rename a passkey' }).getByLabel('Name').fill('Old laptop');
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByRole('cell', { name: 'Old laptop', exact: true }).waitFor();

  // A key that no longer verifies who holds it is not taken.
  await page.getByRole('button', { name: 'Log out' }).click();
  await key.cdp.send('WebAuthn.setUserVerified', { authenticatorId: key.authenticatorId, isUserVerified: false });
  await page.getByRole('button', { name: 'Use a passkey' }).click();
  await page.locator('#wrong').waitFor();
  await key.cdp.send('WebAuthn.setUserVerified', { authenticatorId: key.authenticatorId, isUserVerified: true });
  await page.getByRole('button', { name: 'Use a passkey' }).click();
  await inside(page);

  await page.goto(b.hub.url + '/security');
  await page.getByRole('button', { name: 'Remove Old laptop' }).click();
  await page.getByRole('dialog', { name: 'Confirm that it is you' }).getByRole('button', { name: 'Use a passkey' }).click();
  await page.getByText('The passkey “Old laptop” is removed.').waitFor();
  await page.getByRole('button', { name: 'Log out' }).click();
  await page.getByRole('button', { name: 'Use a passkey' }).click();
  await page.getByText('was not accepted').waitFor();
});

test('a passkey whose counter goes back is refused, and says so', async (b) => {
  const who = person(b.hub);
  const page = await b.page();
  const key = await virtualKey(page);
  await page.goto(b.hub.url);
  await logIn(page, who);
  await inside(page);
  await page.goto(b.hub.url + '/security');
  await page.getByRole('button', { name: 'Add a passkey' }).click();
  await page.getByRole('textbox', { name: 'Name' }).fill('Key');
  await page.getByRole('button', { name: 'Go on' }).click();
  await confirm(page, who.password);
  await page.getByRole('button', { name: 'I have kept them' }).click();
  await page.getByRole('button', { name: 'Log out' }).click();
  const { credentials } = await key.cdp.send('WebAuthn.getCredentials', { authenticatorId: key.authenticatorId });
  for (let i = 0; i < 2; i++) {
    await page.getByRole('button', { name: 'Use a passkey' }).click();
    await inside(page);
    await page.getByRole('button', { name: 'Log out' }).click();
  }
  // Somebody has copied it as it was.
  await key.cdp.send('WebAuthn.removeCredential', { authenticatorId: key.authenticatorId, credentialId: credentials[0].credentialId });
  await key.cdp.send('WebAuthn.addCredential', { authenticatorId: key.authenticatorId, credential: credentials[0] });
  await page.getByRole('button', { name: 'Use a passkey' }).click();
  await page.getByText('counter went back').waitFor();
});

for (const [look, options] of Object.entries({ dark: { ...desktop, colorScheme: 'dark' }, phone: { ...phone, colorScheme: 'light' } })) {
  test(`the page of security is well made: ${look}`, async (b) => {
    const page = await opened(b, person(b.hub), options);
    await fits(page, 'security');
    await axe(page, `security, ${look}`);
    await shot(page, `${look}-security`, true);
  });
}
