/** The native routes of the engine's page. `hooks.ws` imports this module for the App to have them. */
import { randomUUID } from 'node:crypto';
import uWS, { type HttpCacheResponse, type TemplatedApp } from 'uWebSockets.js';
import { shared } from '../shared';
import { withApp } from './app';

/** A slow reader of the feed is owed so much, and what is published beyond that is dropped for it. */
const FEED_LIMIT = 2 * 1024 * 1024;

/** The App, and what its routes count. */
export const native = shared('engine.native', () => ({
  app: undefined as TemplatedApp | undefined,
  /** The routes of the clients that the server itself runs have a name that nobody else can know. */
  inner: `/engine/${randomUUID()}`,
  dropped: 0,
  relayed: 0,
}));

/** The topics of the two switches: visitors may subscribe to any that they can name. */
export const FEED = `${native.inner}/feed`;
const LOAD = `${native.inner}/load`;

withApp((app) => {
  // The original has no figures, and no page about them.
  if (typeof app.metrics !== 'function') return;
  native.app = app;

  // These two are answered by the loop alone.
  app.metrics('/engine/metrics');
  const declared = new uWS.DeclarativeResponse().writeHeader('content-type', 'text/plain');
  app.get('/engine/declared', declared.end('Answered by the loop'));

  // From the second request on by the loop: fresh for a second, and for a minute while JavaScript makes
  // another one.
  app.get('/engine/cached', made, { lowerExpiry: 1, upperExpiry: 60 });

  // Without handlers: the loop completes the handshake and answers pings.
  app.ws(`${native.inner}/ping`, {});

  app.ws(FEED, {
    maxBackpressure: FEED_LIMIT,
    open: (ws) => void ws.subscribe(FEED),
    dropped: () => void native.dropped++,
  });

  app.ws(LOAD, {
    maxPayloadLength: 1024,
    // After a block JavaScript publishes all at once that has come meanwhile.
    maxBackpressure: 1024 * 1024,
    open: (ws) => void ws.subscribe(LOAD),
    message(_ws, message, isBinary) {
      native.relayed++;
      app.publish(LOAD, message, isBinary);
    },
  });
});

function made(res: HttpCacheResponse): void {
  res.writeHeader('content-type', 'text/plain').end(`Made by JavaScript at ${new Date().toISOString()}`);
}
