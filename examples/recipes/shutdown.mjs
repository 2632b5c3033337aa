import { setTimeout as sleep } from 'node:timers/promises';
import uWS from 'uWebSockets.js';

const port = Number(process.env.PORT ?? 3000);
const NOTICE = Number(process.env.NOTICE_MS ?? 5000); // until the balancer has seen that we are leaving
const DEADLINE = 20; // seconds for what is under way

const app = uWS.App();
let isLeaving = false;

app.get('/healthz', (res) => {
  res.writeStatus(isLeaving ? '503 Service Unavailable' : '200 OK').end(isLeaving ? 'leaving\n' : 'ok\n');
});
app.get('/slow', async (res) => {
  let isAborted = false;
  res.onAborted(() => (isAborted = true));
  await sleep(500);
  if (!isAborted) res.cork(() => res.end('done\n'));
});
app.ws('/chat', {
  open: (ws) => ws.subscribe('chat'),
  message: (ws, message, isBinary) => app.publish('chat', message, isBinary),
});

async function leave(signal) {
  if (isLeaving) return;
  isLeaving = true;
  console.log(`${signal}: leaving`);
  await sleep(NOTICE);
  // Nothing is accepted any more; all that was is answered, and WebSockets get 1001 behind their messages.
  const { cut } = await app.shutdown({ timeout: DEADLINE });
  console.log(`${cut} connections were cut`);
  // Close databases here. The process ends when nothing else keeps it alive.
}
process.on('SIGTERM', leave);
process.on('SIGINT', leave);

app.listen(port, uWS.LIBUS_LISTEN_EXCLUSIVE_PORT, (token) => {
  if (!token) throw new Error(`Port ${port} is taken`);
  console.log(`Listening on port ${uWS.us_socket_local_port(token)}`);
});
