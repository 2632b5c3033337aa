/** The environment is checked when the server starts: a mistake in it ends the process with a message. */
import { writeSync } from 'node:fs';
import process from 'node:process';
import { isMainThread } from 'node:worker_threads';

const STDERR = 2;

/** The URL is not part of the message, since it may have a password. */
export function checkUrl(name: string, value: string, protocols: string[]): void {
  const protocol = URL.canParse(value) ? new URL(value).protocol : '';
  if (!protocols.includes(protocol))
    refuse(`${name} is not a URL that begins with ${protocols.join('// or ')}//`);
}

/** Ends the process. A worker thread cannot, and would be started again and again: it sends a signal. */
export function refuse(message: string): never {
  writeSync(STDERR, `${message}\n`);
  if (isMainThread) process.exit(1);
  process.kill(process.pid, 'SIGHUP');
  throw new Error(message);
}
