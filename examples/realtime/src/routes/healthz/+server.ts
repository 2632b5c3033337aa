import { text } from '@sveltejs/kit';
import { stores } from '$lib/server/stores';

/** A page that needs the store, and is rendered without a network. */
const PAGE = '/about';

/** 200 where pages can be served, with what does not work beside them; 503 where they cannot. */
export async function GET({ fetch }) {
  const page = await fetch(PAGE);
  if (!page.ok) return text('pages cannot be served\n', { status: 503 });
  const ailments = stores.ailments();
  return text(ailments.length > 0 ? `degraded: ${ailments.join(', ')}\n` : 'ok\n');
}
