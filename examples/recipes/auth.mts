import { createHmac, timingSafeEqual } from 'node:crypto';
import uWS, { type HttpRequest, type HttpResponse } from 'uWebSockets.js';

const { PORT = '3000', ORIGINS = 'https://app.example.com', SECRET, SESSIONS } = process.env;
if (!SECRET || !SESSIONS) throw new Error('SECRET signs tokens, SESSIONS is the URL of the session service');

type User = { name: string };

/** The user of a token `name.expiry.signature`, with the expiry in seconds since 1970, while it is valid. */
function userOfToken(token: string): User | undefined {
  const [name = '', expiry = '', signature = ''] = token.split('.');
  const right = createHmac('sha256', SECRET!).update(`${name}.${expiry}`).digest();
  const given = Buffer.from(signature, 'base64url');
  if (given.length !== right.length || !timingSafeEqual(given, right)) return undefined;
  return Number(expiry) > Date.now() / 1000 ? { name: Buffer.from(name, 'base64url').toString() } : undefined;
}

async function userOfSession(id: string, signal: AbortSignal): Promise<User | undefined> {
  const response = await fetch(`${SESSIONS}/${encodeURIComponent(id)}`, { signal });
  return response.ok ? ((await response.json()) as User) : undefined;
}

const cookie = (req: HttpRequest, name: string) =>
  new RegExp(`(?:^|; )${name}=([^;]*)`).exec(req.getHeader('cookie'))?.[1] ?? '';
/** A browser sends cookies along for any page: only ours may use them. Other clients send no origin. */
const isForeign = (req: HttpRequest) => !['', ...ORIGINS.split(',')].includes(req.getHeader('origin'));

type Handshake = [key: string, protocol: string, extensions: string];
const handshake = (req: HttpRequest) =>
  ['key', 'protocol', 'extensions'].map((name) => req.getHeader(`sec-websocket-${name}`)) as Handshake;

const refuse = (res: HttpResponse, status: string) => void res.writeStatus(status).end();
const greet = (ws: uWS.WebSocket<User>) => void ws.send(`Hello ${ws.getUserData().name}`);

const app = uWS.App();
app.ws<User>('/signed', {
  upgrade(res, req, context) {
    if (isForeign(req)) return refuse(res, '403 Forbidden');
    const user = userOfToken(cookie(req, 'token'));
    if (!user) return refuse(res, '401 Unauthorized');
    res.upgrade(user, ...handshake(req), context);
  },
  open: greet,
});
app.ws<User>('/looked-up', {
  async upgrade(res, req, context) {
    if (isForeign(req)) return refuse(res, '403 Forbidden');
    const fields = handshake(req); // `req` is gone after the await
    const gone = new AbortController();
    res.onAborted(() => gone.abort());
    const user = await userOfSession(cookie(req, 'session'), gone.signal).catch(() => null);
    if (gone.signal.aborted) return;
    res.cork(() => {
      if (user) res.upgrade(user, ...fields, context);
      else refuse(res, user === null ? '503 Service Unavailable' : '401 Unauthorized');
    });
  },
  open: greet,
});
app.listen(Number(PORT), uWS.LIBUS_LISTEN_EXCLUSIVE_PORT, (token) => {
  if (!token) throw new Error(`Port ${PORT} is taken`);
  console.log(`Listening on port ${uWS.us_socket_local_port(token)}`);
});
