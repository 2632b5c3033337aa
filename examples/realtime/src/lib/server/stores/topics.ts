/** Limits for every store. */

/** Events per topic that can be replayed; a client that missed more loads everything anew. */
export const REPLAYED = 1000;

/** Items per topic; the oldest are removed. */
export const ITEMS = 500;

/** The presence of an instance ends after this time without a sign of life. */
export const PRESENCE_TTL_MS = Number(process.env.PRESENCE_TTL_MS ?? 15_000);

export const presenceTopic = (room: string): string => `presence:${room}`;
