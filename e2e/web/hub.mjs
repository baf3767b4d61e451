// Brings up what the tests look at: a demo of its own, or one that runs already, and in it one more datalogger, whose
// readings are known to the sample.

import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';

const root = new URL('../../', import.meta.url).pathname;
const bin = process.env.LOGGERHEAD_BIN ?? join(root, 'bin');

/** Where a program is. */
export const program = (name) => join(bin, name);

/** A hub under test: its address, its folder, who may log in, and how to end what was started. */
export async function startHub() {
  for (const program of ['loggerhead', 'loggerhead-agent']) {
    if (!existsSync(join(bin, program))) throw new Error(`${join(bin, program)} is missing: run \`make build\` first`);
  }
  const running = process.env.LOGGERHEAD_URL;
  if (running) {
    const data = process.env.DEMO_DATA;
    if (!data) throw new Error('LOGGERHEAD_URL needs DEMO_DATA, the folder of that demo');
    return hubAt(running, data, async () => {});
  }
  const data = mkdtempSync(join(tmpdir(), 'loggerhead-e2e-'));
  const ports = ['people', 'mqtt', 'devices', 'private'].flatMap((p) => [`--${p}-port`, '0']);
  const demo = spawn(join(bin, 'loggerhead'), ['demo', '--data', join(data, 'demo'), ...ports], { stdio: ['ignore', 'pipe', 'pipe'] });
  let out = '';
  demo.stdout.on('data', (b) => (out += b));
  demo.stderr.on('data', (b) => (out += b));
  const ended = new Promise((done) => demo.on('exit', (code, signal) => done(code ?? signal)));
  const stop = async () => {
    demo.kill('SIGINT');
    const timer = setTimeout(() => demo.kill('SIGKILL'), 60_000);
    const status = await ended;
    clearTimeout(timer);
    if (status !== 0) throw new Error(`the demo ended with ${status}:\n${out}`);
    rmSync(data, { recursive: true });
  };
  const failed = ended.then((status) => {
    throw new Error(`the demo ended with ${status} before it was up:\n${out}`);
  });
  failed.catch(() => {}); // after it was up nobody waits for it
  const up = (async () => {
    for (let i = 0; i < 1200; i++) {
      const url = /https:\/\/localhost:\d+/.exec(out);
      if (url && out.includes('/api/docs')) return url[0];
      await new Promise((r) => setTimeout(r, 100));
    }
    throw new Error(`the demo did not come up:\n${out}`);
  })();
  return hubAt(await Promise.race([up, failed]), join(data, 'demo'), stop);
}

async function hubAt(url, data, stop) {
  const logins = {};
  for (const line of readFileSync(join(data, 'log-ins.txt'), 'utf8').split('\n')) {
    const [role, email, password] = line.trim().split(/\s+/);
    if (role && role !== '#' && password) logins[role] = { email, password };
  }
  const rootPEM = readFileSync(join(data, 'hub', 'root.pem'));
  return { url, data, logins, rootPEM, pin: await pinOf(url, rootPEM), stop };
}

/**
 * The hash of the hub's public key, after Node has verified its certificate against the installation's root. Chromium
 * is told to accept this key and no other: it has no option to trust a root for one run, and ignoring certificates
 * altogether would hide a hub that serves the wrong one.
 */
function pinOf(url, ca) {
  const { hostname, port } = new URL(url);
  return new Promise((done, fail) => {
    const s = connect({ host: hostname, port: Number(port), servername: hostname, ca, minVersion: 'TLSv1.3' }, () => {
      const key = s.getPeerX509Certificate().publicKey.export({ type: 'spki', format: 'der' });
      s.destroy();
      done(createHash('sha256').update(key).digest('base64'));
    });
    s.on('error', fail);
  });
}

const minute = 60_000;

/** What the known datalogger measured: three days, one reading a minute, up to a while ago. */
export function knownReadings(now) {
  const end = Math.floor(now / (10 * minute)) * 10 * minute - 10 * minute;
  const begin = end - 3 * 1440 * minute;
  const known = {
    begin, end,
    gap: { before: end - 16 * 60 * minute, after: end - 10 * 60 * minute },
    spike: { time: end - 40 * 60 * minute, value: 9.876 },
    suspect: { time: end - 4 * 60 * minute, value: 1.9 },
    bad: { time: end - 2 * 60 * minute, value: 0.1 },
    rainTotal: 0,
    rows: 0,
  };
  let rain = 20;
  const lines = ['time,level,rain,quality'];
  for (let t = begin; t <= end; t += minute) {
    if (t > known.gap.before && t < known.gap.after) continue;
    const n = (t - begin) / minute;
    let level = 1.2 + 0.2 * Math.sin(n / 200);
    let quality = 'ok';
    for (const [name, k] of [['ok', known.spike], ['suspect', known.suspect], ['bad', known.bad]]) {
      if (t === k.time) [level, quality] = [k.value, name];
    }
    if (n >= 1000 && n < 1020) rain += 0.2; // 4 mm in twenty minutes of the first day
    lines.push(`${t},${level.toFixed(3)},${rain.toFixed(1)},${quality}`);
    known.rows++;
  }
  known.rainTotal = 4;
  return { known, csv: lines.join('\n') + '\n' };
}

/** Lists a serial in the hub's inventory and returns its claim code, as the operator does. */
export function listDevice(hub, serial) {
  const out = execFileSync(join(bin, 'loggerhead'), ['inventory', 'add', '-c', join(hub.data, 'hub', 'loggerhead.yaml'), serial, '--hardware', 'lh-e2e'], { encoding: 'utf8' });
  const code = /claim code\s+(\S+)/.exec(out);
  if (!code) throw new Error(`no claim code in: ${out}`);
  return code[1];
}

/** Starts the agent of the known datalogger. It enrols, sends its readings and stays connected. */
export function startAgent(hub, serial, code, csv) {
  const dir = join(hub.data, `e2e-${serial}`);
  mkdirSync(dir, { recursive: true });
  const demoAgent = readFileSync(join(hub.data, 'loggers', 'choptank', 'agent.yaml'), 'utf8');
  const addresses = /hub:\n(?: {2}.*\n)+/.exec(demoAgent)[0];
  writeFileSync(join(dir, 'claim.code'), code + '\n', { mode: 0o600 });
  writeFileSync(join(dir, 'readings.csv'), csv);
  writeFileSync(join(dir, 'agent.yaml'), `serial: ${serial}
hardware: lh-e2e
claim_code_file: claim.code
data: data
${addresses}upload:
  live: true
  max_backoff: 2s
sensors:
  - type: csv
    interval: 1s
    csv:
      file: readings.csv
      state: replay.state
      time: time
      time_format: unix_ms
      every: 1m
      speed: 1e9
      flag: quality
      flags: {ok: 1, suspect: 3, bad: 4}
      channels:
        - {match: level, key: 1/level, name: Known level, quantity: water_level, unit: m, digits: 3}
        - {match: rain, key: 1/rain, name: Known rain, quantity: rain, unit: mm, digits: 1, meaning: counter}
`, { mode: 0o600 });
  const log = openSync(join(dir, 'log'), 'a');
  const agent = spawn(join(bin, 'loggerhead-agent'), ['run', '--config', join(dir, 'agent.yaml')], { stdio: ['ignore', log, log] });
  const ended = new Promise((done) => agent.on('exit', done));
  return {
    log: () => readFileSync(join(dir, 'log'), 'utf8'),
    stop: async () => {
      agent.kill('SIGINT');
      await ended;
    },
  };
}
