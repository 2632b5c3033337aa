// Starts the production build as serve.js does, with the page /files behind a cached route: SvelteKit renders
// it once a second at most, and the loop of uws-rs answers all who ask, also while JavaScript is busy.
import process from 'node:process';
import { STATUS_CODES } from 'node:http';
import uWS from 'uWebSockets.js';
import { Server } from './build/server/index.js';
import { manifest } from './build/server/manifest.js';

const ORIGIN = process.env.ORIGIN ?? 'http://localhost';
const OPTIONS = { lowerExpiry: 0, upperExpiry: 10, head: true, etag: true, compress: true };

const server = new Server(manifest);
const ready = server.init({ env: process.env });

/**
 * Renders a page from its URL alone, without cookies and headers, so that it cannot depend on who asks. The
 * cookie for new visitors (hooks.server.js) is left to the other pages: a reply with `Set-Cookie` would go to
 * its client alone and never be stored.
 */
async function render(res, req) {
  const query = req.getQuery();
  const url = new URL(req.getUrl() + (query === undefined ? '' : `?${query}`), ORIGIN);
  try {
    await ready;
    const page = await server.respond(new Request(url), {
      getClientAddress() {
        throw new Error('A cached page is for everybody, and has no client.');
      },
    });
    const body = await page.arrayBuffer();
    res.writeStatus(`${page.status} ${STATUS_CODES[page.status] ?? ''}`);
    for (const [name, value] of page.headers) if (name !== 'set-cookie') res.writeHeader(name, value);
    res.end(body);
  } catch (error) {
    console.error(error);
    res.close();
  }
}

// The adapter makes the app, and gives it a route for everything. One of `get` comes before that.
const { App, SSLApp } = uWS;
uWS.App = (options) => App(options).get('/files', render, OPTIONS);
uWS.SSLApp = (options) => SSLApp(options).get('/files', render, OPTIONS);

await import('./serve.js');
