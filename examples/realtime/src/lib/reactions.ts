/** The reactions are drawn rather than written as emoji, for which not every system has a font. */
export const REACTIONS = {
  heart:
    'M12 20s-7.5-4.6-9-9.2C2 7.3 4.2 5 6.9 5c2 0 3.9 1.2 5.1 3 1.2-1.8 3.1-3 5.1-3 2.7 0 4.9 2.3 3.9 5.8-1.5 4.6-9 9.2-9 9.2z',
  star: 'M12 3l2.7 5.8 6.3.8-4.6 4.3 1.2 6.3L12 17.1l-5.6 3.1 1.2-6.3L3 9.6l6.3-.8z',
  idea: 'M9 18h6m-5 3h4m-7-11a5 5 0 1 1 8 4c-.9.7-1 1.3-1 2h-4c0-.7-.1-1.3-1-2a5 5 0 0 1-2-4z',
  spark: 'M13 2 5 14h6l-1 8 9-13h-6z',
} as const;

export type Reaction = keyof typeof REACTIONS;

export function isReaction(value: unknown): value is Reaction {
  return typeof value === 'string' && Object.hasOwn(REACTIONS, value);
}
