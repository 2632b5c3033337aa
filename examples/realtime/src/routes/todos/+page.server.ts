import { randomUUID } from 'node:crypto';
import { action } from '$lib/server/forms';
import { todos } from '$live/todos';
import { addTodo, removeTodo, setDone } from '../../live/todos';
import type { Actions } from './$types';

export async function load({ platform, locals }) {
  return { todos: await todos.load(platform, { user: locals.visitor }) };
}

export const actions: Actions = {
  add: action((ctx, field) => addTodo(ctx, randomUUID(), field('text'))),
  toggle: action((ctx, field) => setDone(ctx, field('id'), field('done') === 'true')),
  remove: action((ctx, field) => removeTodo(ctx, field('id'))),
};
