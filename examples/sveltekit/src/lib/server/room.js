/**
 * The room of all visitors: a chat and a counter. Its whole state is one append-only file. The line number of
 * an event is its sequence number. So a restarted server continues where it stopped, and all that share the
 * file agree on the order without communicating: worker threads, and the second copy of this module that
 * adapter 0.3 bundles for `hooks.ws`.
 */
import { randomUUID } from 'node:crypto';
import { appendFileSync, openSync, readSync } from 'node:fs';
import { createPresence } from 'svelte-adapter-uws/plugins/presence';
import { createReplay } from 'svelte-adapter-uws/plugins/replay';
import { ROOM } from '../topics.js';
import { dataPath } from './data.js';

const KEPT = 100;
const TEXT_MAX = 500;

export const replay = createReplay({ size: 1000 });
export const presence = createPresence({ key: 'id', select: ({ id, name, hue }) => ({ id, name, hue }) });

/** For events that another worker, or the server before its restart, has published already. */
const SILENT = { publish: () => false };

/** Publishers of our own events that are on their way through the file. */
const pending = new Map();
const messages = [];
let counter = 0;
let seq = 0;

let file;
let offset = 0;
let partial = Buffer.alloc(0);

/** The state that a page shows at first, and the number from which its live events begin. */
export function snapshot() {
  catchUp();
  return { messages: messages.slice(), counter, seq };
}

/**
 * @param {App.Platform} platform
 * @param {{ id: string, name: string, hue: number }} from
 * @param {string} text
 * @returns {boolean} whether there was something to say
 */
export function say(platform, from, text) {
  const trimmed = text.trim().slice(0, TEXT_MAX);
  if (!trimmed) return false;
  record(platform, { kind: 'message', from, text: trimmed, at: Date.now() });
  return true;
}

export function count(platform, by) {
  record(platform, { kind: 'count', by });
}

/** Reads the lines that any writer has appended since the last call. */
export function catchUp() {
  const chunk = Buffer.alloc(64 * 1024);
  open();
  for (let size; (size = readSync(file, chunk, 0, chunk.length, offset)) > 0;) {
    offset += size;
    partial = Buffer.concat([partial, chunk.subarray(0, size)]);
    for (let end; (end = partial.indexOf(10)) >= 0; partial = partial.subarray(end + 1)) {
      apply(JSON.parse(partial.toString('utf8', 0, end)));
    }
  }
}

function record(platform, event) {
  const ref = randomUUID();
  pending.set(ref, platform);
  open();
  appendFileSync(file, JSON.stringify({ ...event, ref }) + '\n');
  catchUp();
}

function open() {
  file ??= openSync(dataPath('room.jsonl'), 'a+');
}

function apply({ ref, kind, ...event }) {
  seq++;
  if (kind === 'count') counter += event.by;
  const data = kind === 'count' ? { seq, counter } : { seq, ...event };
  if (kind === 'message') {
    messages.push(data);
    if (messages.length > KEPT) messages.shift();
  }
  const platform = pending.get(ref) ?? SILENT;
  pending.delete(ref);
  replay.publish(platform, ROOM, kind, data);
}
