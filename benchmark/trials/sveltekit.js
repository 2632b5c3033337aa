'use strict';

// A SvelteKit app through svelte-adapter-uws, the same output under each module.

const { build } = require('../sveltekit.js');

/** 20.30 adds a content-length of its own to that of the adapter (`repeated-length`). */
const page = (name, about, rate, path, text) => ({
  name: `sveltekit/${name}`,
  about: `${about}, 64 connections`,
  server: 'sveltekit.js',
  prepare: () => ({ build: build() }),
  load: ['http', { connections: 64, path, 'expect-same': text, 'repeated-length': true }],
  unit: 'request',
  onlyModules: true,
  must: { rate },
  least: 1,
  leastWarmup: 0.7,
});

module.exports = [
  page('static', 'a static file of 16 KiB', 1.15, '/asset.css', '.c419 {'),
  page('trivial', 'a page of one heading, rendered', 1.15, '/', 'Hello World!'),
  page('realistic', 'a page with a table of 60 rows, some 30 KiB, rendered', 1.02, '/orders', 'Article 0'),
];
