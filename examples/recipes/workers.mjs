import { availableParallelism } from 'node:os';
import { isMainThread, parentPort, threadId, Worker } from 'node:worker_threads';
import uWS from 'uWebSockets.js';

const port = Number(process.env.PORT ?? 3000);
const THREADS = Number(process.env.THREADS ?? Math.ceil(availableParallelism() / 2)); // two busy threads each

if (isMainThread) acceptor();
else worker();

/** Accepts all connections, and hands them out to the workers in turn. */
async function acceptor() {
  const app = uWS.App();
  const start = () =>
    new Promise((ready) => {
      const thread = new Worker(new URL(import.meta.url));
      let descriptor;
      thread.once('message', (message) => {
        descriptor = message;
        app.addChildAppDescriptor(descriptor);
        ready();
      });
      thread.once('error', (error) => console.error(`A worker has failed: ${error.stack}`));
      thread.once('exit', () => {
        if (descriptor) app.removeChildAppDescriptor(descriptor);
        setTimeout(start, 1000);
      });
    });
  await Promise.all(Array.from({ length: THREADS }, start));
  app.listen(port, uWS.LIBUS_LISTEN_EXCLUSIVE_PORT, (token) => {
    if (!token) throw new Error(`Port ${port} is taken`);
    console.log(`Listening on port ${uWS.us_socket_local_port(token)}`);
  });
}

/** Serves its share of the connections. */
function worker() {
  const others = new BroadcastChannel('chat'); // reaches all threads but this one
  const app = uWS.App();
  others.onmessage = ({ data: [message, isBinary] }) => app.publish('chat', message, isBinary);
  app.get('/thread', (res) => res.end(`${threadId}`));
  app.ws('/chat', {
    open: (ws) => ws.subscribe('chat'), // the client is answered behind it, so it misses nothing
    message: (ws, message, isBinary) => {
      const copy = message.slice(0); // the message is only lent
      app.publish('chat', copy, isBinary);
      others.postMessage([copy, isBinary]);
    },
  });
  parentPort.postMessage(app.getDescriptor());
}
