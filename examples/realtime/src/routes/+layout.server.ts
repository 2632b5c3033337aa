import { stores } from '$lib/server/stores';

export function load({ locals }) {
  return { visitor: locals.visitor, status: stores.status() };
}
