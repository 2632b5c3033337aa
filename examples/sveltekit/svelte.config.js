import adapter from 'svelte-adapter-uws';

export default {
  kit: {
    adapter: adapter({
      websocket: {
        // The adapter's 10 upgrades in 10 s per address are too few for several tabs behind one router.
        upgradeRateLimit: 100,
      },
    }),
  },
};
