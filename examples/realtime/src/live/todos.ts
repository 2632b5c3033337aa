import { randomUUID } from 'node:crypto';
import { LiveError, guard, live } from 'svelte-realtime/server';
import { visitorsOnly } from '$lib/server/guards';
import { stores } from '$lib/server/stores';
import type { Connection } from '$lib/server/connection';
import type { LiveContext } from 'svelte-realtime/server';

export interface Todo {
  id: string;
  text: string;
  done: boolean;
  by: string;
}

type Context = LiveContext<Connection>;

const TOPIC = 'todos';
const TEXT_MAX = 200;

export const _guard = guard(visitorsOnly);

export const todos = live.stream(TOPIC, () => stores.log.items<Todo>(TOPIC), {
  merge: 'crud',
  key: 'id',
  replay: true,
});

export const addTodo = live(async (ctx: Context, text: string, id: string = randomUUID()): Promise<Todo> => {
  const todo = { id, text: words(text), done: false, by: ctx.user.name };
  await stores.log.append(ctx.platform, TOPIC, 'created', todo);
  return todo;
});

function words(text: unknown): string {
  const trimmed = typeof text === 'string' ? text.trim().slice(0, TEXT_MAX) : '';
  if (!trimmed) throw new LiveError('VALIDATION', 'Say what is to be done');
  return trimmed;
}
