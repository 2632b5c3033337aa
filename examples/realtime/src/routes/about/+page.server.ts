import { stores } from '$lib/server/stores';

const STARTED = Date.now();

export async function load() {
  const [todos, said] = await Promise.all([stores.log.items('todos'), stores.log.items('room:lobby')]);
  return {
    node: process.version,
    platform: `${process.platform} ${process.arch}`,
    started: new Date(STARTED).toISOString(),
    todos: todos.length,
    messages: said.length,
  };
}
