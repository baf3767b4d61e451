// A datalogger whose every reading is known: claimed in the web app, enrolled, and drawn.

import { check, equal, openDevice, shot, test, until } from '../harness.mjs';
import { knownReadings, listDevice, startAgent } from '../hub.mjs';

const serial = 'E2E-KNOWN-1';
const name = 'Known station';

/** Counts pixels of a colour in a part of a chart, by time and, from the top, by height. */
function ink(page, chart, [r, g, b], from, to, top = 0, bottom = 1) {
  return page.locator('figure').nth(chart).evaluate(
    (figure, [r, g, b, from, to, top, bottom]) => {
      const canvas = figure.querySelector('canvas');
      const over = figure.querySelector('.u-over').getBoundingClientRect();
      const box = canvas.getBoundingClientRect();
      const scale = canvas.width / box.width;
      const begin = Number(figure.dataset.from);
      const end = Number(figure.dataset.to);
      const x = (t) => (over.left - box.left + ((t - begin) / (end - begin)) * over.width) * scale;
      const left = Math.round(x(from));
      const width = Math.max(Math.round(x(to)) - left, 1);
      const y = Math.round((over.top - box.top + top * over.height) * scale);
      const height = Math.round((bottom - top) * over.height * scale);
      const d = canvas.getContext('2d').getImageData(left, y, width, height).data;
      let n = 0;
      for (let i = 0; i < d.length; i += 4) {
        if (d[i + 3] > 100 && Math.abs(d[i] - r) + Math.abs(d[i + 1] - g) + Math.abs(d[i + 2] - b) < 60) n++;
      }
      return n;
    },
    [r, g, b, from, to, top, bottom],
  );
}

test('an owner adds a device by the label on its box; its known readings are drawn as they are', async (b) => {
  const { known, csv } = knownReadings(Date.now());
  const page = await b.loggedIn('owner');

  // A wrong code first.
  const code = listDevice(b.hub, serial);
  await page.getByRole('button', { name: 'Add a device' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Serial').fill(serial);
  await dialog.getByLabel('Claim code').fill('0000-0000-0000-0000-0000');
  await dialog.getByLabel('Name').fill(name);
  await dialog.getByLabel('Location').selectOption({ label: 'Borris Krog' });
  await dialog.getByRole('button', { name: 'Add device' }).click();
  await dialog.getByRole('alert').waitFor();
  await dialog.getByLabel('Claim code').fill(code.toLowerCase());
  await dialog.getByRole('button', { name: 'Add device' }).click();
  await dialog.waitFor({ state: 'detached' });
  const card = page.locator('article', { hasText: name });
  await card.getByText('Not enrolled yet').waitFor();

  const agent = startAgent(b.hub, serial, code, csv);
  try {
    await card.getByText('Online', { exact: true }).waitFor({ timeout: 30_000 });
    // Its elements are new to the page: they come by themselves.
    await until(async () => /Known level/.test(await card.innerText()), 'the values of the new device', 30_000);
    await until(async () => Number(await card.locator('.value').first().getAttribute('data-time')) === known.end, 'the last reading', 30_000);
    await openDevice(page, name);

    // All three days, reduced to pixels: nothing is lost of the spike that is one sample of thousands.
    const [, , project, , device] = new URL(page.url()).pathname.split('/');
    const elements = await page.evaluate((u) => fetch(u).then((r) => r.json()), `/api/v1/projects/${project}/elements?device_id=${device}`);
    const level = elements.items.find((e) => e.channel === '1/level');
    const colour = [1, 3, 5].map((i) => parseInt(level.color.slice(i, i + 2), 16));
    const answer = page.waitForResponse((r) => r.url().includes('/series') && r.url().includes('points=1'));
    await page.setViewportSize({ width: 860, height: 860 });
    await page.getByRole('button', { name: 'All data' }).click();
    await answer;
    const stats = page.locator('figure .stats').first();
    await until(async () => new RegExp(`to ${known.spike.value}`).test(await stats.innerText()), 'the spike in the figures');
    const words = await stats.innerText();
    check(new RegExp(`${known.rows.toString()}\\ssamples`).test(words), `all ${known.rows} samples: ${words}`);
    check(/1\sgap\b/.test(words), `the one gap: ${words}`);
    check(/2\smarked/.test(words), `the two marks: ${words}`);
    await page.waitForTimeout(300); // a frame or two for the canvas
    const span = known.end - known.begin;
    check((await ink(page, 0, colour, known.spike.time - span / 200, known.spike.time + span / 200, 0.02, 0.4)) > 5, 'the spike is drawn to its top');

    // The gap: no ink within, ink on both sides.
    const { before, after } = known.gap;
    const inset = (after - before) * 0.05;
    equal(await ink(page, 0, colour, before + inset, after - inset), 0, 'ink in the gap');
    check((await ink(page, 0, colour, before - 3600_000, before)) > 3, 'ink before the gap');
    check((await ink(page, 0, colour, after, after + 3600_000)) > 3, 'ink after the gap');
    // Were the line drawn through, its ink would be found: beyond the last reading of an inked hour there is some.
    check((await ink(page, 0, colour, before - (after - before), before)) > (after - before) / span, 'the count counts');

    // Suspect and bad: marks of other colours, and words in the table.
    const css = (v) => page.evaluate((v) => getComputedStyle(document.documentElement).getPropertyValue(v).match(/\w\w/g).slice(0, 3).map((h) => parseInt(h, 16)), v);
    for (const [k, v] of [[known.suspect, '--warn'], [known.bad, '--bad']]) {
      check((await ink(page, 0, await css(v), k.time - span / 100, k.time + span / 100)) > 4, `a mark in the colour ${v}`);
    }
    await page.mouse.move(0, 0);
    await shot(page, 'known-station');

    // The counter: how much fell, not where it stands.
    const rain = page.locator('figure', { hasText: 'Known rain' });
    check(new RegExp(`${known.rainTotal.toFixed(1)}\\smm`).test(await rain.locator('.value').innerText()), `rain: ${await rain.innerText()}`);

    await page.getByRole('button', { name: 'Last 24 h' }).click();
    await page.getByRole('button', { name: 'Table' }).click();
    await page.getByRole('button', { name: 'Show more' }).click();
    const row = (t) => page.locator('tbody tr', { hasText: t });
    await until(async () => (await row(`suspect ${known.suspect.value.toFixed(3)}`).count()) === 1, 'the suspect sample, in words');
    await until(async () => (await row(`bad ${known.bad.value.toFixed(3)}`).count()) === 1, 'the bad sample, in words');
  } catch (e) {
    throw new Error(`${e.stack}\nlog of the agent:\n${agent.log().slice(-2000)}`);
  } finally {
    await agent.stop();
  }
});
