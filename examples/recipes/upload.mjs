import { randomUUID } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import uWS from 'uWebSockets.js';

const port = Number(process.env.PORT ?? 3000);
const FOLDER = process.env.UPLOADS ?? 'uploads';
const LIMIT = Number(process.env.LIMIT ?? 1024 ** 3); // bytes of a body
await mkdir(FOLDER, { recursive: true });

/** The body of the request as a stream. While nobody reads it, nothing is read from the client. */
function bodyOf(res) {
  const body = new Readable({ read: () => res.resume() });
  res.onAborted(() => {
    res.aborted = true;
    body.destroy(new Error('The client is gone'));
  });
  res.onData((chunk, isLast) => {
    const hasRoom = body.push(Buffer.from(chunk.slice(0))); // a copy: the chunk is only lent
    if (isLast) body.push(null);
    else if (!hasRoom) res.pause();
  });
  return body;
}

async function upload(res) {
  const id = randomUUID(); // names that clients choose are no names of files
  const partial = join(FOLDER, `${id}.part`);
  let status = '201 Created';
  try {
    await pipeline(bodyOf(res), createWriteStream(partial, { flags: 'wx' }));
    await rename(partial, join(FOLDER, id)); // only whole files have this name
  } catch (error) {
    await rm(partial, { force: true });
    if (!res.aborted) console.error(error);
    status = '500 Internal Server Error';
  }
  if (res.aborted) return;
  res.cork(() => {
    res.writeStatus(status).writeHeader('content-type', 'application/json');
    res.end(JSON.stringify(status.startsWith('201') ? { id } : { error: 'It could not be stored' }));
  });
}

uWS
  .App({ limits: { maxBodyLength: LIMIT } }) // more is answered with 413
  .post('/upload', upload)
  .listen(port, uWS.LIBUS_LISTEN_EXCLUSIVE_PORT, (token) => {
    if (!token) throw new Error(`Port ${port} is taken`);
    console.log(`Listening on port ${uWS.us_socket_local_port(token)}`);
  });
