/**
 * Kept topics in one append-only file. The sequence number of an event is that of its line. So worker threads
 * that share the file agree on the order without communicating, and a restarted server continues where it
 * stopped. The first line says where the numbers begin: higher than in any file before, so that a number of
 * another file is not mistaken for one of this.
 */
import {
  appendFileSync,
  closeSync,
  fstatSync,
  linkSync,
  mkdirSync,
  openSync,
  readSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { TopicState } from './topic-state';
import type { Item, LogEvent, LogEventName } from './types';

const NEWLINE = 10;

export class Journal {
  #topics = new Map<string, TopicState>();
  #folder: string;
  #file: number | undefined;
  #offset = 0;
  #seq = 0;
  #partial = Buffer.alloc(0);
  #chunk = Buffer.alloc(64 * 1024);
  /** The last write has failed. */
  isFailing = false;

  constructor(folder: string) {
    this.#folder = folder;
  }

  append(topic: string, event: LogEventName, data: Item): LogEvent {
    // The line is recognised by its object when it is read again, since other threads append as well.
    const ref = `${process.pid}.${Math.random().toString(36).slice(2)}`;
    this.#write(JSON.stringify({ topic, event, data, ref }) + '\n');
    return this.#catchUp(ref) ?? { seq: this.#seq, topic, event, data };
  }

  items<T extends Item>(topic: string): T[] {
    return this.#topic(topic).items() as T[];
  }

  seq(topic: string): number {
    return this.#topic(topic).seq;
  }

  since(topic: string, seq: number): LogEvent[] | null {
    return this.#topic(topic).since(seq);
  }

  close(): void {
    if (this.#file !== undefined) closeSync(this.#file);
    this.#file = undefined;
  }

  #write(line: string): void {
    try {
      appendFileSync(this.open(), line);
    } catch (error) {
      if (!this.isFailing) console.error('The journal cannot be written:', (error as Error).message);
      this.isFailing = true;
      throw error;
    }
    if (this.isFailing) console.log('The journal can be written again');
    this.isFailing = false;
  }

  #topic(name: string): TopicState {
    this.open();
    this.#catchUp();
    // A topic that is only looked at is not kept: anybody may make up names.
    return this.#topics.get(name) ?? new TopicState();
  }

  #state(name: string): TopicState {
    let state = this.#topics.get(name);
    if (!state) this.#topics.set(name, (state = new TopicState()));
    return state;
  }

  /** Opens the file; throws where it, or its folder, cannot be written. */
  open(): number {
    if (this.#file === undefined) {
      mkdirSync(this.#folder, { recursive: true });
      const name = path.join(this.#folder, 'journal.jsonl');
      begin(name);
      const file = openSync(name, 'a+');
      endLine(file);
      this.#file = file;
    }
    return this.#file;
  }

  /**
   * Reads the lines that any thread has appended since the last call, and returns the event of that `ref`.
   */
  #catchUp(ref?: string): LogEvent | undefined {
    let found: LogEvent | undefined;
    for (let size; (size = readSync(this.#file!, this.#chunk, 0, this.#chunk.length, this.#offset)) > 0;) {
      this.#offset += size;
      this.#partial = Buffer.concat([this.#partial, this.#chunk.subarray(0, size)]);
      for (
        let end;
        (end = this.#partial.indexOf(NEWLINE)) >= 0;
        this.#partial = this.#partial.subarray(end + 1)
      ) {
        const { begin, ref: its, topic, event, data } = parse(this.#partial.toString('utf8', 0, end));
        if (begin === undefined && topic === undefined) continue;
        if (begin !== undefined) {
          this.#seq = begin;
          continue;
        }
        const entry: LogEvent = { seq: ++this.#seq, topic, event, data };
        this.#state(topic).apply(entry);
        if (its === ref) found = entry;
      }
    }
    return found;
  }
}

/** Ends a line that a crash has cut off, or the next one would go with it. */
function endLine(file: number): void {
  const { size } = fstatSync(file);
  const last = Buffer.alloc(1);
  if (size > 0 && readSync(file, last, 0, 1, size - 1) === 1 && last[0] !== NEWLINE)
    appendFileSync(file, '\n');
}

/** A line that was cut off is left out, and all after it are read. */
function parse(line: string) {
  try {
    return JSON.parse(line);
  } catch {
    if (line) console.error(`The journal has a line that is no event, and is left out: ${line.slice(0, 80)}`);
    return {};
  }
}

/**
 * Creates the file with its first line, unless it exists. This is atomic, since other threads may be about to
 * do the same.
 */
function begin(name: string): void {
  const draft = `${name}.${process.pid}.${Math.random().toString(36).slice(2)}`;
  writeFileSync(draft, JSON.stringify({ begin: Date.now() * 1000 }) + '\n');
  try {
    linkSync(draft, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    rmSync(draft);
  }
}
