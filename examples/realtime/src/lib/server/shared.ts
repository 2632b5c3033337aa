/**
 * State that exists once per process (and worker thread). Adapter 0.3 bundles `hooks.ws` separately from the
 * live modules, so that a module they share exists twice.
 */
export function shared<T>(name: string, create: () => T): T {
  const anchor = globalThis as { [key: symbol]: unknown };
  return (anchor[Symbol.for(`uws-rs-example.${name}`)] ??= create()) as T;
}
