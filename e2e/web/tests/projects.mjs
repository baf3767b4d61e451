import { axe, check, desktop, equal, fits, logIn, phone, shot, test, until } from '../harness.mjs';

const name = 'Weir <b>at</b> Å';

/** Somebody's page, wherever logging in leads them. */
async function enter(b, role, options) {
  const page = await b.page(options);
  await page.goto(b.hub.url);
  await logIn(page, b.hub.logins[role]);
  await page.getByRole('button', { name: 'Log out' }).waitFor();
  return page;
}

const all = (page, b) => page.goto(`${b.hub.url}/?all`);

/** Nothing of this test stays, whatever became of it: the others expect one project. */
async function clean(page) {
  await page.evaluate(async (name) => {
    const { items } = await (await fetch('/api/v1/projects?state=all')).json();
    for (const p of items.filter((p) => p.name === name)) await fetch(`/api/v1/projects/${p.id}?now=true&name=${encodeURIComponent(name)}`, { method: 'DELETE' });
  }, name);
}

for (const [look, options] of Object.entries({ light: { ...desktop, colorScheme: 'light' }, 'phone-dark': { ...phone, colorScheme: 'dark' } })) {
  test(`a project from its making to its end, with an invitation: ${look}`, async (b) => {
    const owner = await enter(b, 'owner', options);
    const see = async (page, what) => {
      await page.waitForTimeout(200);
      await fits(page, what);
      await axe(page, `${what}, ${look}`);
      await shot(page, `${look}-projects-${what}`, true);
    };
    try {
      await all(owner, b);
      await see(owner, 'list');
      await owner.getByRole('button', { name: 'Create a project' }).click();
      await owner.getByLabel('Name').fill(name);
      await owner.getByLabel('Time zone').fill('Mars/Olympus');
      await owner.getByRole('button', { name: 'Create project' }).click();
      await owner.getByRole('alert').getByText('Mars/Olympus').waitFor();
      await see(owner, 'create');
      await owner.getByLabel('Time zone').fill('Europe/Copenhagen');
      await owner.getByRole('button', { name: 'Create project' }).click();
      await owner.getByRole('heading', { name, exact: true }).waitFor();

      await owner.getByRole('link', { name: 'Settings' }).click();
      await owner.getByLabel('Description').fill('Where the eels pass');
      await owner.locator('select[name=system]').selectOption({ label: 'US customary' });
      await owner.getByRole('button', { name: 'A unit of its own' }).click();
      await owner.getByRole('textbox', { name: 'Quantity' }).fill('temperature');
      await owner.getByLabel('UCUM code').fill('not a unit');
      await owner.getByRole('button', { name: 'Save' }).click();
      await owner.getByRole('alert').getByText('UCUM').waitFor();
      await owner.getByLabel('UCUM code').fill('[degF]');
      await owner.getByRole('button', { name: 'Save' }).click();
      await owner.getByText('Saved.').waitFor();
      await see(owner, 'settings');
      await owner.reload();
      equal(await owner.getByLabel('Description').inputValue(), 'Where the eels pass', 'the description that was saved');
      equal(await owner.getByLabel('UCUM code').inputValue(), '[degF]', 'the unit that was saved');

      await owner.getByRole('link', { name: 'Members' }).click();
      await owner.getByLabel('E-mail').fill(b.hub.logins.viewer.email);
      await owner.getByLabel('Role').selectOption({ label: 'Editor: also changes devices and elements' });
      await owner.getByRole('button', { name: 'Invite', exact: true }).click();
      await owner.getByText(`A mail to ${b.hub.logins.viewer.email} is on its way.`).waitFor();
      await see(owner, 'invitations');

      const guest = await enter(b, 'viewer', options);
      await guest.locator('[data-offer]').waitFor();
      await see(guest, 'offer');
      await guest.getByRole('button', { name: 'Accept the invitation' }).click();
      await guest.getByRole('heading', { name, exact: true }).waitFor();
      await guest.getByRole('button', { name: 'Add a device' }).waitFor();

      await owner.reload();
      await owner.getByRole('button', { name: 'Change Viggo Viewer' }).click();
      await owner.getByRole('dialog').getByLabel('Role').selectOption({ label: 'Viewer: reads' });
      await see(owner, 'edit-member');
      await owner.getByRole('button', { name: 'Save' }).click();
      await owner.getByRole('cell', { name: 'viewer', exact: true }).waitFor();
      await guest.reload();
      await guest.getByRole('heading', { name, exact: true }).waitFor();
      equal(await guest.getByRole('button', { name: 'Add a device' }).count(), 0, 'buttons to add a device');

      await owner.getByRole('link', { name: 'Settings' }).click();
      await owner.getByRole('button', { name: 'Archive the project' }).click();
      await owner.getByText('This project is archived.').waitFor();
      await see(owner, 'archived');
      await all(owner, b);
      await owner.getByRole('list', { name: 'Archived' }).getByRole('link', { name }).click();
      await owner.getByRole('button', { name: 'Take out of the archive' }).click();
      await owner.getByText('This project is archived.').waitFor({ state: 'detached' });

      await owner.getByRole('link', { name: 'Settings' }).click();
      await owner.getByRole('button', { name: 'Delete with a delay' }).click();
      await owner.getByText('destroyed for good').first().waitFor();
      await see(owner, 'doomed');
      await guest.reload();
      await guest.getByText('is going to be').waitFor();
      equal(await guest.getByRole('button', { name: 'Keep the project' }).count(), 0, 'a viewer can keep the project');
      await owner.getByRole('button', { name: 'Keep the project' }).click();
      await until(async () => (await owner.getByText('is going to be').count()) === 0, 'the banner goes');

      const destroy = owner.getByRole('button', { name: 'Destroy at once' });
      check(await destroy.isDisabled(), 'destroying needs the name');
      await owner.getByLabel("Type the project's name").fill(name);
      await destroy.click();
      await owner.waitForURL((u) => !u.pathname.endsWith('/settings'));
      await guest.reload();
      await guest.getByRole('alert').waitFor();
    } finally {
      await clean(owner);
    }
  });
}
