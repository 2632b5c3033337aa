/** A stream's list: empty until it is there. */
export function rows<T>(value: T[] | { error: unknown } | undefined): T[] {
  return Array.isArray(value) ? value : [];
}

/** What to show of a failed call. */
export function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
