import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vitest/config';

// `npm run dev` serves the app with the API of a running hub; its certificate is of its own authority.
const hub = process.env['LOGGERHEAD_URL'] ?? 'https://127.0.0.1:8443';

export default defineConfig({
  plugins: [svelte()],
  server: { host: '127.0.0.1', proxy: { '/api': { target: hub, secure: false } } },
  build: {
    target: ['chrome111', 'firefox114', 'safari16.4'],
    emptyOutDir: false, // dist/.gitkeep stays; scripts/clean.mjs takes the rest
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  test: { include: ['src/**/*.test.ts'], environment: 'node' },
});
