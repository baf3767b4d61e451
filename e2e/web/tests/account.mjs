import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { axe, check, equal, fits, logIn, phone, test, until } from '../harness.mjs';

const bin = process.env.LOGGERHEAD_BIN ?? new URL('../../../bin', import.meta.url).pathname;

/** Runs a command of the operator's on the hub's installation and returns the link that it prints. */
function link(b, ...args) {
  const out = execFileSync(join(bin, 'loggerhead'), ['user', ...args, '--config', join(b.hub.data, 'hub', 'loggerhead.yaml')], { encoding: 'utf8' });
  const token = /#(lhl_[\w-]{43})/.exec(out);
  check(token, `no link in: ${out}`);
  return `${b.hub.url}/link#${token[1]}`;
}

let n = 0;
/** Makes an account by an invitation, in the browser, and returns how to log in. */
async function invited(b, page) {
  const email = `new${Date.now()}-${n++}@mail.example`;
  const password = 'hvid sommerfugl 7';
  await page.goto(link(b, 'invite', email));
  await page.getByLabel('Your name').fill('Nye Person');
  await page.getByLabel('New password').fill(password);
  await page.getByLabel('The same again').fill(password);
  await page.getByRole('button', { name: 'Make the account' }).click();
  await page.getByRole('link', { name: 'Nye Person' }).waitFor();
  return { email, password };
}

test('an invitation makes an account, once, and its token leaves the address bar', async (b) => {
  const page = await b.page();
  const url = link(b, 'invite', 'guest@mail.example');
  await page.goto(url);
  await page.getByRole('heading', { name: 'You are invited' }).waitFor();
  equal(await page.evaluate(() => location.href), `${b.hub.url}/link`, 'address');
  check(await page.getByText('guest@mail.example').isVisible(), 'the address is named');
  await axe(page, 'an invitation');
  await fits(page, 'an invitation');
  await page.getByLabel('Your name').fill('Gæst');
  const make = page.getByRole('button', { name: 'Make the account' });
  await page.getByLabel('New password').fill('qwertyuiop');
  check(await make.isDisabled(), 'one password alone does');
  await page.getByLabel('The same again').fill('qwertyuiop');
  await make.click();
  await page.getByRole('alert').getByText(/among the first that anybody would try/).waitFor();
  await page.getByLabel('New password').fill('hvid sommerfugl 7');
  await page.getByText('The two differ.').waitFor();
  await page.getByLabel('The same again').fill('hvid sommerfugl 7');
  await make.click();
  await page.getByRole('link', { name: 'Gæst' }).waitFor();
  check(await page.getByText('You are in no project yet').isVisible(), 'they see their projects');
  const again = await b.page();
  await again.goto(url);
  await again.getByRole('alert').getByText(/used already/).waitFor();
});

test('a forgotten password is asked for without telling who has an account, and chosen anew by a link', async (b) => {
  const page = await b.page(phone);
  const who = await invited(b, page);
  await page.getByRole('button', { name: 'Log out' }).click();
  await page.getByRole('link', { name: 'Forgot your password?' }).click();
  const answers = [];
  for (const email of [who.email, 'nobody@mail.example']) {
    await page.goto(`${b.hub.url}/forgot`);
    await page.getByLabel('E-mail').fill(email);
    await page.getByRole('button', { name: 'Send the link' }).click();
    answers.push(await page.getByRole('status').filter({ hasText: 'If there is an account' }).innerText());
  }
  equal(answers[0], answers[1], 'both answers');
  await axe(page, 'what was asked for');
  await fits(page, 'what was asked for');
  await page.goto(link(b, 'reset-link', who.email));
  await page.getByLabel('New password').fill('gul kanariefugl 9');
  await page.getByLabel('The same again').fill('gul kanariefugl 9');
  await page.getByRole('button', { name: 'Set the password' }).click();
  await page.getByRole('button', { name: 'Log out' }).click();
  await logIn(page, who);
  await page.getByRole('alert').getByText(/do not fit/).waitFor();
  await logIn(page, { ...who, password: 'gul kanariefugl 9' });
  await page.getByRole('button', { name: 'Log out' }).waitFor();
});

test('where sign-up is closed, the page says how one gets an account', async (b) => {
  const page = await b.page();
  await page.goto(b.hub.url);
  await page.getByRole('link', { name: 'Make an account' }).click();
  await page.getByText(/are made by invitation/).waitFor();
  equal(await page.getByRole('button', { name: 'Send the link' }).count(), 0, 'buttons that would fail');
});

test('the account page changes the name and the password, ends sessions, and deletes the account', async (b) => {
  const page = await b.page();
  const who = await invited(b, page);
  const other = await b.page();
  await other.goto(b.hub.url);
  await logIn(other, who);
  await other.getByRole('link', { name: 'Nye Person' }).waitFor();
  await page.getByRole('link', { name: 'Nye Person' }).click();
  const rows = page.getByRole('region', { name: 'Sessions' }).locator('tbody tr');
  await until(async () => (await rows.count()) === 2, 'two sessions');
  check(await rows.first().getByText(/Chrome/).isVisible(), 'the program is named');
  await axe(page, 'the account page');
  await fits(page, 'the account page');

  await page.getByLabel('Name', { exact: true }).fill('Ny Navn');
  await page.getByRole('button', { name: 'Change the name' }).click();
  await page.getByRole('link', { name: 'Ny Navn' }).waitFor();

  await rows.getByRole('button', { name: 'End' }).click();
  await until(async () => (await rows.count()) === 1, 'one session');
  await other.getByRole('link', { name: 'Nye Person' }).click();
  await other.getByText(/Your session has ended/).waitFor();

  const change = async (current) => {
    await page.getByLabel('Password until now').fill(current);
    await page.getByLabel('New password').fill('gul kanariefugl 9');
    await page.getByLabel('The same again').fill('gul kanariefugl 9');
    await page.getByRole('button', { name: 'Change the password' }).click();
  };
  await change('not the right one');
  await page.getByRole('alert').getByText(/password is wrong/).waitFor();
  await change(who.password);
  await page.getByText(/Your password is changed/).waitFor();
  await page.reload(); // the session goes on
  await rows.first().waitFor();

  await page.getByRole('button', { name: /Delete my account/ }).click();
  await page.getByRole('dialog').getByLabel('Your password').fill('gul kanariefugl 9');
  await page.getByRole('dialog').getByRole('button', { name: 'Delete it' }).click();
  await page.getByText(/Your account is deleted/).waitFor();
  await logIn(page, { ...who, password: 'gul kanariefugl 9' });
  await page.getByRole('alert').getByText(/do not fit/).waitFor();
});
