import { LiveError, guard, live } from 'svelte-realtime/server';
import { itemId, text, visitorsOnly, type Context } from '$lib/server/context';
import { stores } from '$lib/server/stores';

const TOPIC = 'todos';
const TEXT_MAX = 200;

export const _guard = guard(visitorsOnly);

export const todos = live.stream(TOPIC, async (): Promise<App.Todo[]> => stores.log.items(TOPIC), {
  merge: 'crud',
  key: 'id',
  replay: true,
});

export const addTodo = live(async (ctx: Context, id: string, words: string): Promise<App.Todo> => {
  const todo = { id: itemId(id), text: text(words, TEXT_MAX), done: false, by: ctx.user.name };
  await stores.log.append(ctx.platform, TOPIC, 'created', todo);
  return todo;
});

export const setDone = live(async (ctx: Context, id: string, done: boolean): Promise<App.Todo> => {
  const todo = { ...(await find(id)), done: Boolean(done) };
  await stores.log.append(ctx.platform, TOPIC, 'updated', todo);
  return todo;
});

export const renameTodo = live(async (ctx: Context, id: string, words: string): Promise<App.Todo> => {
  const todo = { ...(await find(id)), text: text(words, TEXT_MAX) };
  await stores.log.append(ctx.platform, TOPIC, 'updated', todo);
  return todo;
});

export const removeTodo = live(async (ctx: Context, id: string): Promise<void> => {
  const todo = await find(id);
  await stores.log.append(ctx.platform, TOPIC, 'deleted', todo);
});

async function find(id: string): Promise<App.Todo> {
  const todo = (await stores.log.items<App.Todo>(TOPIC)).find((one) => one.id === id);
  if (!todo) throw new LiveError('NOT_FOUND', 'Somebody else has removed it');
  return todo;
}
