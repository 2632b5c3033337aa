import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import uWS from 'uWebSockets.js';

const port = Number(process.env.PORT ?? 443);
// A folder for each name, as certbot has them: /etc/letsencrypt/live/example.com/{fullchain,privkey}.pem
const FOLDER = process.env.CERTIFICATES ?? '/etc/letsencrypt/live';
const DEFAULT = process.env.DEFAULT_NAME ?? 'example.com'; // for clients that name no server, or another

const filesOf = (name) => ({
  cert_file_name: join(FOLDER, name, 'fullchain.pem'),
  key_file_name: join(FOLDER, name, 'privkey.pem'),
});

/**
 * Takes the certificates as they are now: new handshakes get them, open connections keep theirs. A name whose
 * files cannot be used keeps what it has, and a warning says why.
 */
function load(app) {
  const folders = readdirSync(FOLDER, { withFileTypes: true }).filter((entry) => !entry.isFile());
  for (const { name } of folders) app.addServerName(name, filesOf(name));
  console.log(`Certificates of ${folders.map(({ name }) => name).join(', ')}`);
}

const app = uWS.SSLApp(filesOf(DEFAULT));
load(app);
process.on('SIGHUP', () => load(app)); // certbot renew --deploy-hook 'pkill -HUP -f tls.mjs'

app.get('/*', (res, req) => res.end(`Hello from ${req.getHeader('host')}\n`));
app.ws('/echo', { message: (ws, message, isBinary) => ws.send(message, isBinary) });
app.listen(port, uWS.LIBUS_LISTEN_EXCLUSIVE_PORT, (token) => {
  if (!token) throw new Error(`Port ${port} is taken`);
  console.log(`Listening on port ${uWS.us_socket_local_port(token)}`);
});
