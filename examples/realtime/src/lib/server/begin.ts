/** The begin of this instance: the adapter gives its platform to requests and connections only. */
import type { Platform } from 'svelte-adapter-uws';
import { adopt } from './jobs';
import { shared } from './shared';
import { stores } from './stores';

const state = shared('begin', () => ({ begun: false }));

export function begin(platform: Platform): void {
  if (state.begun) return;
  state.begun = true;
  stores.bridge.activate(platform);
  adopt(platform);
}
