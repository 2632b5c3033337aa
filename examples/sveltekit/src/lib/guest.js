const FIRST = [
  'Amber',
  'Brisk',
  'Calm',
  'Dapper',
  'Eager',
  'Fuzzy',
  'Gentle',
  'Happy',
  'Inky',
  'Jolly',
  'Keen',
  'Lucky',
];
const LAST = [
  'Badger',
  'Crane',
  'Dolphin',
  'Falcon',
  'Gecko',
  'Heron',
  'Ibis',
  'Lynx',
  'Marten',
  'Otter',
  'Puffin',
  'Wombat',
];
const ID = /^[0-9a-f]{8}-[0-9a-f-]{27}$/;

/**
 * The visitor behind a cookie: a stable name and colour for an id. `null` for anything that is no id of ours.
 *
 * @param {string | undefined} id
 */
export function guest(id) {
  if (!id || !ID.test(id)) return null;
  const number = parseInt(id.slice(0, 8), 16);
  const name = `${FIRST[number % FIRST.length]} ${LAST[(number >>> 8) % LAST.length]}`;
  return { id, name, hue: number % 360 };
}
