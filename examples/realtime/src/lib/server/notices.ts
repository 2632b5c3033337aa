/** The adapter's typed channel: notices shown on every page. */
import { createChannel } from 'svelte-adapter-uws/plugins/channels';
import { shared } from './shared';

interface Notice {
  text: string;
  from: string;
  at: number;
}

export const notices = shared('notices', () => createChannel('notices', { info: notice, warning: notice }));

function notice(data: unknown): Notice {
  const { text, from, at } = (data ?? {}) as Partial<Notice>;
  if (typeof text !== 'string' || text.length > 140)
    throw new Error('A notice has a text of at most 140 characters');
  if (typeof from !== 'string' || from.length > 60 || typeof at !== 'number')
    throw new Error('A notice says from whom and when');
  return { text, from, at };
}
