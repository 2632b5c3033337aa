'use strict';

// npm runs this before it packs or publishes the clone itself. The package of the clone would have no binary
// and name no package that has one.

console.error(
  'uws-rs is not packed or published from its clone: `npm run package` makes its packages in dist/, one for ' +
    'each platform and the main one, and those are published (.github/workflows/release.yml).',
);
process.exit(1);
