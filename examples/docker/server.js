import uWS from 'uWebSockets.js';

const port = Number(process.env.PORT ?? 3000);
const app = uWS
  .App()
  .get('/', (res) => res.end('Hello from a container\n'))
  .get('/healthz', (res) => res.end('ok\n'))
  .ws('/echo', { message: (ws, message, isBinary) => ws.send(message, isBinary) });

// Docker sends SIGTERM, and SIGKILL 10 s later (`docker stop --time`).
process.once('SIGTERM', async () => {
  const { cut } = await app.shutdown({ timeout: 8 });
  console.log(`${cut} connections were cut`);
});

app.listen(port, (token) => {
  if (!token) throw new Error(`Port ${port} is taken`);
  console.log(`Listening on port ${uWS.us_socket_local_port(token)}`);
});
