'use strict';

const js = require('@eslint/js');
const globals = require('globals');

module.exports = [
  { ignores: ['target/', 'dist/', '**/node_modules/', '**/build/', '**/.svelte-kit/', '**/static/'] },
  js.configs.recommended,
  {
    files: ['**/*.js'],
    languageOptions: { ecmaVersion: 2023, sourceType: 'commonjs', globals: globals.node },
  },
  {
    files: [
      '**/*.mjs',
      'examples/*/**/*.js',
      'benchmark/sveltekit/**/*.js',
      '__test__/stack/{fixture,extensions}/**/*.js',
    ],
    languageOptions: { ecmaVersion: 2023, sourceType: 'module', globals: globals.node },
  },
  {
    files: ['**/*.svelte.js'],
    languageOptions: { globals: { ...globals.browser, $state: 'readonly', $derived: 'readonly' } },
  },
  {
    // Functions of the page evaluated by Chromium stand inside Node's files.
    files: ['__test__/browser/**/*.js', '__test__/stack/**/*.js'],
    languageOptions: { globals: { ...globals.node, ...globals.browser } },
  },
  {
    rules: {
      'no-unused-vars': ['error', { argsIgnorePattern: '^_', caughtErrors: 'none' }],
      eqeqeq: ['error', 'always', { null: 'ignore' }],
      'no-var': 'error',
      'prefer-const': 'error',
    },
  },
];
