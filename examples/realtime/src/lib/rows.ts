/** The list of a stream; empty until it has loaded. */
export function rows<T>(value: T[] | { error: unknown } | undefined): T[] {
  return Array.isArray(value) ? value : [];
}

/**
 * Returns a function that puts a stream's list into the order in which its items came: where one is deleted,
 * svelte-realtime moves the last one into its place.
 */
export function inOrder<T extends { id: string }>(): (list: T[]) => T[] {
  const places = new Map<string, number>();
  return (list) => {
    for (const { id } of list) if (!places.has(id)) places.set(id, places.size);
    return list.toSorted((one, other) => places.get(one.id)! - places.get(other.id)!);
  };
}

/** The text to show for a failed call. */
export function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
