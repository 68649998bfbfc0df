import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vitest/config';

/** The node that `npm run dev` passes API calls and the WebSocket on to. */
const node = 'http://127.0.0.1:4500';

export default defineConfig({
  plugins: [svelte()],
  server: {
    proxy: {
      '/api': node,
      '/ws': { target: node, ws: true },
    },
  },
  build: {
    target: 'es2022',
    // Everything is a file of its own: `default-src 'self'` forbids data: addresses.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  test: {
    include: ['src/**/*.test.ts'],
    environment: 'node',
  },
});
