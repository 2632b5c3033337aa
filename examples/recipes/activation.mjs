import net from 'node:net';
import uWS from 'uWebSockets.js';

const port = Number(process.env.PORT ?? 3000);
// systemd has the port and passes it on as descriptor 3 (sd_listen_fds(3)): clients wait while we restart.
const IS_ACTIVATED = process.env.LISTEN_PID === `${process.pid}` && process.env.LISTEN_FDS === '1';

const app = uWS.App();
app.get('/', (res) => res.end('Hello\n'));
app.ws('/echo', { message: (ws, message, isBinary) => ws.send(message, isBinary) });

// Node accepts and reads nothing; from here on the connection is the app's, within its limits.
const server = net.createServer({ pauseOnConnect: true }, (socket) => {
  try {
    app.adoptSocket(socket);
  } catch (error) {
    if (error.code !== 'ENOTCONN') console.error(error); // or the client has left already
    socket.destroy();
  }
});
server.listen(IS_ACTIVATED ? { fd: 3 } : { port }, () => {
  console.log(`Listening on port ${server.address().port}`);
});
process.once('SIGTERM', () => {
  server.close();
  app.shutdown();
});
