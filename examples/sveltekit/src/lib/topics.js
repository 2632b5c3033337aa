/** The topics to which the tabs of the live room subscribe. */
export const ROOM = 'room';
