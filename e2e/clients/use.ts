// What an integrator writes first, with a client nobody at Loggerhead wrote.

import { client } from './generated/client.gen';
import { createLocation, createProject, getLocation, getSeries, listLocations, listProjects, logIn } from './generated';

function check(ok: boolean, what: string): asserts ok {
  if (!ok) throw new Error(what);
}

async function main(): Promise<void> {
  const [hub, email, password] = process.argv.slice(2) as [string, string, string];
  client.setConfig({ baseUrl: hub });

  const nobody = await listProjects();
  check(nobody.response.status === 401 && nobody.error?.code === 'unauthenticated', 'strangers see nothing');

  const session = await logIn({ body: { email, password } });
  check(session.data?.token !== undefined, `log in: ${session.error?.detail}`);
  client.setConfig({ baseUrl: hub, headers: { Authorization: `Bearer ${session.data.token}` } });

  const project = await createProject({ body: { name: 'Generated', zone: 'Europe/Copenhagen' } });
  check(project.data !== undefined, `create a project: ${project.error?.detail}`);
  const path = { project: project.data.id };

  const made = await createLocation({ path, body: { name: 'Weir', latitude: 55.9, longitude: 8.4 } });
  check(made.data?.name === 'Weir', `create a location: ${made.error?.detail}`);
  const got = await getLocation({ path: { ...path, location: made.data.id } });
  check(got.data?.latitude === 55.9, `get a location: ${got.error?.detail}`);
  const all = await listLocations({ path });
  check(all.data?.items.length === 1, 'list the locations');

  const wrong = await getSeries({ path, query: { elements: ['el_0000000000000000'], from: 0, to: 1 } });
  check(wrong.response.status === 404 && wrong.error?.code === 'not_found', 'an element that is not there');
  console.log('the generated client works');
}

main().catch((e: unknown) => {
  console.error(e);
  process.exit(1);
});
