import { open } from 'node:fs/promises';
import uWS from 'uWebSockets.js';

const port = Number(process.env.PORT ?? 3000);
const FOLDER = process.env.VIDEOS ?? 'videos';

/** The bytes that are asked for (RFC 9110 §14.1.2); without one valid range all; null: there are none. */
function partOf(range, size) {
  const [, from, to] = /^bytes=(\d*)-(\d*)$/.exec(range) ?? [];
  if ((!from && !to) || (from && to && Number(to) < Number(from))) return { start: 0, length: size };
  const start = from ? Number(from) : Math.max(size - Number(to), 0);
  const end = from && to ? Math.min(Number(to) + 1, size) : size;
  return start < size ? { start, length: end - start, isPartial: true } : null;
}

/** Sends a part of a file as fast as the client takes it; one chunk of it is in memory. */
async function stream(res, file, { start, length }) {
  const chunk = Buffer.allocUnsafe(Math.min(length, 256 * 1024));
  for (let sent = 0; ; sent = res.getWriteOffset()) {
    const { bytesRead } = await file.read(chunk, 0, Math.min(chunk.length, length - sent), start + sent);
    if (res.aborted) return;
    if (bytesRead === 0) throw new Error('The file has become shorter');
    const writable = new Promise((resolve) => (res.wake = resolve));
    let ok, done;
    res.cork(() => ([ok, done] = res.tryEnd(chunk.subarray(0, bytesRead), length)));
    if (!ok && !done) await writable;
    if (res.aborted || done) return;
  }
}

async function send(res, file, isGet, range, ifRange) {
  const { size, mtimeMs } = await file.stat();
  if (res.aborted) return;
  const etag = `"${size.toString(36)}-${Math.trunc(mtimeMs).toString(36)}"`;
  const part = partOf(isGet && (ifRange === '' || ifRange === etag) ? range : '', size);
  res.writeStatus(!part ? '416 Range Not Satisfiable' : part.isPartial ? '206 Partial Content' : '200 OK');
  res.writeHeader('content-type', 'video/mp4').writeHeader('accept-ranges', 'bytes');
  res.writeHeader('etag', etag);
  const span = part ? `${part.start}-${part.start + part.length - 1}` : '*';
  if (!part || part.isPartial) res.writeHeader('content-range', `bytes ${span}/${size}`);
  if (part && isGet && size > 0) await stream(res, file, part);
  else res.endWithoutBody(part ? size : 0);
}

async function download(res, req) {
  const [method, range, ifRange] = [req.getMethod(), req.getHeader('range'), req.getHeader('if-range')];
  const name = /^\w[\w.-]*\.mp4$/.exec(req.getParameter(0))?.[0];
  res.onWritable(() => (res.wake?.(), true)).onAborted(() => ((res.aborted = true), res.wake?.()));
  const file = name && (await open(`${FOLDER}/${name}`).catch(() => undefined));
  if (!file) return res.aborted || res.cork(() => res.writeStatus('404 Not Found').end());
  const fail = (error) => (console.error(error), res.aborted || res.close()); // the client sees the cut
  await send(res, file, method === 'get', range, ifRange).catch(fail);
  await file.close();
}

const app = uWS.App().get('/videos/:name', download).head('/videos/:name', download);
app.listen(port, uWS.LIBUS_LISTEN_EXCLUSIVE_PORT, (token) => {
  if (!token) throw new Error(`Port ${port} is taken`);
  console.log(`Listening on port ${uWS.us_socket_local_port(token)}`);
});
