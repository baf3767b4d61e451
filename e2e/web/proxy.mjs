// A wire to the hub that can be cut, or die in silence. It carries TLS as it is.

import { connect, createServer } from 'node:net';

export async function proxy(hub) {
  const port = Number(new URL(hub).port);
  const sockets = new Set();
  let state = 'well';
  const server = createServer((client) => {
    if (state === 'cut') return client.destroy();
    const up = connect(port, '127.0.0.1');
    for (const [a, b] of [[client, up], [up, client]]) {
      sockets.add(a);
      a.on('data', (d) => state === 'well' && b.write(d));
      a.on('error', () => {});
      a.on('close', () => {
        sockets.delete(a);
        if (state !== 'stalled') b.destroy();
      });
    }
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const drop = () => {
    for (const s of sockets) s.destroy();
  };
  return {
    url: `https://localhost:${server.address().port}`,
    cut() {
      state = 'cut';
      drop();
    },
    stall() {
      state = 'stalled';
    },
    heal() {
      state = 'well';
      drop(); // what was swallowed is lost: the old connections are of no use
    },
    close() {
      state = 'cut';
      drop();
      server.close();
    },
  };
}
