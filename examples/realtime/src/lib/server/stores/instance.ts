/** The names of instances that share a store. */
import { createHash, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import process from 'node:process';

/** The name of this server or worker thread. */
export const INSTANCE = randomUUID().slice(0, 8);

/**
 * The name of this process. Its worker threads share it: the adapter relays publishes between them, so a
 * message that comes back from the store with this name has reached them already.
 */
export const PROCESS = createHash('sha256')
  .update(`${hostname()}:${process.pid}:${startedAt()}`)
  .digest('hex')
  .slice(0, 12);

/** Distinguishes a process from an earlier one with the same number: containers often have number 1. */
function startedAt(): string {
  try {
    const stat = readFileSync('/proc/self/stat', 'utf8');
    return stat.slice(stat.lastIndexOf(')')).split(' ')[20];
  } catch {
    return String(process.ppid);
  }
}
