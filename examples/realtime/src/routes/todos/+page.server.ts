import { randomUUID } from 'node:crypto';
import { fail } from '@sveltejs/kit';
import { stores, type LogEventName } from '$lib/server/stores';
import { todos } from '$live/todos';

const TOPIC = 'todos';
const TEXT_MAX = 200;

export async function load({ platform, locals }) {
  return { todos: await todos.load(platform, { user: locals.visitor }) };
}

/** The form actions of the page without JavaScript; other visitors see the changes all the same. */
export const actions = {
  async add({ request, platform, locals }) {
    const text = field(await request.formData(), 'text').trim();
    if (!text || text.length > TEXT_MAX) return fail(400, { error: `1 to ${TEXT_MAX} characters` });
    await append(platform!, 'created', { id: randomUUID(), text, done: false, by: locals.visitor.name });
  },

  async toggle({ request, platform }) {
    const todo = await find(field(await request.formData(), 'id'));
    if (todo) await append(platform!, 'updated', { ...todo, done: !todo.done });
  },

  async remove({ request, platform }) {
    const todo = await find(field(await request.formData(), 'id'));
    if (todo) await append(platform!, 'deleted', todo);
  },
};

function append(platform: App.Platform, event: LogEventName, todo: App.Todo) {
  return stores.log.append(stores.bridge.wrap(platform), TOPIC, event, todo);
}

async function find(id: string): Promise<App.Todo | undefined> {
  return (await stores.log.items<App.Todo>(TOPIC)).find((todo) => todo.id === id);
}

function field(form: FormData, name: string): string {
  const value = form.get(name);
  return typeof value === 'string' ? value : '';
}
