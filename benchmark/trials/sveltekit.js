'use strict';

// A SvelteKit app through svelte-adapter-uws, the same output under each module.

const { build } = require('../sveltekit.js');

/** 20.30 adds a content-length of its own to that of the adapter (`repeated-length`). */
const page = (name, about, rate, path, text, rest) => ({
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
  ...rest,
});

/** The generator has little to do while pages are rendered, so the server gets its core, too. */
const free = { pinned: false };

module.exports = [
  page('static', 'a static file of 16 KiB', 1.15, '/asset.css', '.c419 {'),
  ...[
    ['', undefined],
    ['-2-cores', free],
  ].flatMap(([suffix, rest]) => [
    page(`trivial${suffix}`, 'a page of one heading, rendered', 1.15, '/', 'Hello World!', rest),
    page(
      `realistic${suffix}`,
      'a table of 60 rows, some 30 KiB, rendered',
      1.02,
      '/orders',
      'Article 0',
      rest,
    ),
  ]),
];
