import uWS from 'uWebSockets.js';
import { engine } from '$lib/server/engine/engine';

/** The figures of the moment, for a page without JavaScript to show them. */
export function load() {
  const { state } = engine;
  return { state, stats: state.missing ? undefined : uWS.stats() };
}
