/**
 * Which store is behind the app: Redis where REDIS_URL is set, Postgres where DATABASE_URL is, both where both are, memory
 * otherwise. On `globalThis`, because the server and its WebSocket hooks may be bundled apart.
 */
import { memoryStores } from './memory';
import type { Stores } from './types';

export type * from './types';

const KEY = Symbol.for('uws-rs-example.stores');
const anchor = globalThis as { [KEY]?: Stores };

export const stores: Stores = (anchor[KEY] ??= memoryStores());
