// npm run e2e [-- part-of-a-name]
import { Bench, launch, runAll } from './harness.mjs';
import { startHub } from './hub.mjs';
import './tests/session.mjs';
import './tests/account.mjs';
import './tests/project.mjs';
import './tests/projects.mjs';
import './tests/device.mjs';
import './tests/known.mjs';
import './tests/security.mjs';
import './tests/pairing.mjs';
import './tests/trouble.mjs';
import './tests/looks.mjs';

let failed = 1;
let hub;
try {
  hub = await startHub();
  const browser = await launch(hub);
  try {
    failed = await runAll(new Bench(hub, browser), process.argv[2] ?? '');
  } finally {
    await browser.close();
  }
} catch (e) {
  console.error(e.stack);
} finally {
  await hub?.stop().catch((e) => {
    console.error(e.message);
    failed = 1;
  });
}
process.exitCode = failed > 0 ? 1 : 0;
