import { stores } from '$lib/server/stores';

/** The process, of which this may be a later worker thread. */
const STARTED = Date.now() - process.uptime() * 1000;

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
