/** Limits every store keeps to. */

/** Events per topic that can be replayed; a client that missed more loads everything anew. */
export const REPLAYED = 1000;

/** Items per topic; the oldest go. */
export const ITEMS = 500;

/** Presence of an instance that was not heard of for so long is over. */
export const PRESENCE_TTL_MS = Number(process.env.PRESENCE_TTL_MS ?? 15_000);

export const presenceTopic = (room: string): string => `presence:${room}`;
