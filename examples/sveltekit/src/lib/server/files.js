/** Uploaded files: the newest few, each in a file named by its digest, with a small description beside it. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { dataPath } from './data.js';

const KEPT = 10;
const ID = /^[0-9a-f]{64}$/;

/** @param {File} file */
export async function store(file) {
  const bytes = Buffer.from(await file.arrayBuffer());
  const id = createHash('sha256').update(bytes).digest('hex');
  const name = file.name.replace(/[^\w. -]/g, '_').slice(0, 80);
  const entry = { id, name, size: bytes.length, type: file.type, at: Date.now() };
  await writeFile(dataPath('files', id), bytes);
  await writeFile(dataPath('files', `${id}.json`), JSON.stringify(entry));
  await forgetOld();
  return entry;
}

export async function list() {
  const names = await readdir(dataPath('files', '.')).catch(() => []);
  const entries = await Promise.all(names.filter((name) => name.endsWith('.json')).map(describe));
  return entries.filter(Boolean).sort((a, b) => b.at - a.at);
}

/** @param {string} id */
export async function read(id) {
  const entry = ID.test(id) ? await describe(`${id}.json`) : null;
  return entry && { entry, body: Readable.toWeb(createReadStream(dataPath('files', id))) };
}

/** Returns `null` where another request has removed the file meanwhile. */
async function describe(name) {
  return readFile(dataPath('files', name), 'utf8').then(JSON.parse, () => null);
}

async function forgetOld() {
  for (const { id } of (await list()).slice(KEPT)) {
    await rm(dataPath('files', `${id}.json`), { force: true });
    await rm(dataPath('files', id), { force: true });
  }
}
