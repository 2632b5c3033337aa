/** The adapter's platform, with a `publish` that reaches the clients of other processes too. */
import type { Platform } from 'svelte-adapter-uws';
import { PROCESS } from './instance';
import type { Bridge, ReplaySource } from './types';

/** A message that is published and not kept. */
export interface Message {
  /** The process whose clients have it. */
  by: string;
  topic: string;
  event: string;
  data: unknown;
}

type Options = { relay?: boolean };
type Batch = { topic: string; event: string; data?: unknown; options?: Options }[];
/** The additional members of releases after 0.3. */
type Newer = Platform & { publishBatched?(batch: Batch): void; batch?(batch: Batch): unknown };

const HERE = { relay: false };

export function wrapper(send: (message: Message) => void, replay: ReplaySource): Bridge['wrap'] {
  const wrapped = new WeakMap<Platform, Platform & { replay: ReplaySource }>();
  return (platform) => {
    let found = wrapped.get(platform);
    if (!found) wrapped.set(platform, (found = wrap(platform, send, replay)));
    return found;
  };
}

function wrap(platform: Newer, send: (message: Message) => void, replay: ReplaySource) {
  const tell = (topic: string, event: string, data: unknown, options?: Options) => {
    if (options?.relay !== false) send({ by: PROCESS, topic, event, data });
  };
  const tellAll = (batch: Batch) => {
    for (const { topic, event, data, options } of batch) tell(topic, event, data, options);
  };
  const own: Partial<Newer> & { replay: ReplaySource } = {
    replay,
    publish(topic, event, data, options) {
      const result = platform.publish(topic, event, data, options);
      tell(topic, event, data, options);
      return result;
    },
    topic: (name) => scoped(name, (event, data) => own.publish!(name, event, data)),
  };
  if (platform.batch) {
    own.batch = (batch) => {
      const results = platform.batch!(batch);
      tellAll(batch);
      return results;
    };
  }
  if (platform.publishBatched) {
    own.publishBatched = (batch) => {
      platform.publishBatched!(batch);
      tellAll(batch);
    };
  }
  return Object.assign(Object.create(platform) as Platform, own);
}

function scoped(
  name: string,
  publish: (event: string, data: unknown) => void,
): ReturnType<Platform['topic']> {
  const of = (event: string) => (data: unknown) => publish(event, data);
  return {
    publish,
    created: of('created'),
    updated: of('updated'),
    deleted: of('deleted'),
    set: of('set'),
    increment: (amount = 1) => publish('increment', amount),
    decrement: (amount = 1) => publish('decrement', amount),
  };
}

/** Messages of other processes go to the clients of this worker; its siblings receive them themselves. */
export function deliver(platform: Platform | undefined, { by, topic, event, data }: Message): void {
  if (by !== PROCESS) platform?.publish(topic, event, data, HERE);
}
