/** The identity of a visitor: a random id in a cookie, from which name and colour follow. */

export type Role = 'viewer' | 'member' | 'admin';

export interface Visitor {
  id: string;
  name: string;
  hue: number;
  role: Role;
}

export const VISITOR_COOKIE = 'visitor';
export const ROLE_COOKIE = 'role';
export const ROLES: readonly Role[] = ['viewer', 'member', 'admin'];

const ID = /^[0-9a-f]{16}$/;
const ADJECTIVES =
  'Amber Brave Calm Clever Eager Gentle Happy Keen Lucky Merry Nimble Quiet Swift Warm Wise Witty';
const ANIMALS =
  'Badger Crane Dolphin Falcon Fox Heron Ibis Lynx Marten Otter Owl Puffin Raven Seal Tapir Wren';

/** Returns undefined where the cookie is missing or not one of ours. */
export function visitorOf(id: string | undefined, role: string | undefined): Visitor | undefined {
  if (!id || !ID.test(id)) return undefined;
  const bits = parseInt(id.slice(0, 8), 16);
  const name = `${pick(ADJECTIVES, bits)} ${pick(ANIMALS, bits >>> 4)}`;
  return { id, name, hue: (bits >>> 8) % 360, role: ROLES.find((one) => one === role) ?? 'member' };
}

function pick(words: string, index: number): string {
  const all = words.split(' ');
  return all[index % all.length];
}
