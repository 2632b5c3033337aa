/** The list of a stream; empty until it has loaded. */
export function rows<T>(value: T[] | { error: unknown } | undefined): T[] {
  return Array.isArray(value) ? value : [];
}

/** The text to show for a failed call. */
export function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
