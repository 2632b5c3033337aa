/** What instances that share a store call themselves. */
import { createHash, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import process from 'node:process';

/** This server or worker thread. */
export const INSTANCE = randomUUID().slice(0, 8);

/**
 * This process. Worker threads have it in common: between them the adapter relays what is published, so what comes back from
 * the store with this name is theirs already.
 */
export const PROCESS = createHash('sha256')
  .update(`${hostname()}:${process.pid}:${startedAt()}`)
  .digest('hex')
  .slice(0, 12);

/** Tells a process from an earlier one of the same number: containers are often all number 1. */
function startedAt(): string {
  try {
    const stat = readFileSync('/proc/self/stat', 'utf8');
    return stat.slice(stat.lastIndexOf(')')).split(' ')[20];
  } catch {
    return String(process.ppid);
  }
}
