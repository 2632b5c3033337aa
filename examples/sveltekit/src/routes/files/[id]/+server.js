import { error } from '@sveltejs/kit';
import { read } from '$lib/server/files.js';

export async function GET({ params }) {
  const found = await read(params.id);
  if (!found) error(404, 'No such file');
  return new Response(found.body, {
    headers: {
      'content-type': 'application/octet-stream',
      'content-disposition': `attachment; filename="${found.entry.name}"`,
      'x-content-type-options': 'nosniff',
    },
  });
}
