/** The listed rooms. */
export const ROOMS = [
  { id: 'lobby', name: 'Lobby', about: 'Everybody comes through here' },
  { id: 'design', name: 'Design', about: 'Pixels, type and colour' },
  { id: 'music', name: 'Music', about: 'What is on today' },
] as const;

/** Other ids are rooms as well, but are not listed; a test uses one of its own. */
export const ROOM_ID = /^[a-z0-9-]{1,32}$/;

export function roomName(id: string): string {
  return ROOMS.find((room) => room.id === id)?.name ?? id;
}
