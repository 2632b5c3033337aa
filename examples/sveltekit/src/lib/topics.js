/** What the tabs of the live room subscribe to. */
export const ROOM = 'room';
