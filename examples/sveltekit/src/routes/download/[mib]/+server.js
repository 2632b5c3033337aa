import { error } from '@sveltejs/kit';
import { BLOCK, patternBlock } from '$lib/pattern.js';

const MAX_MIB = 1024;

/** A download of any size, made while it is sent: only the socket's backlog waits in memory. */
export function GET({ params }) {
  const mib = Number(params.mib);
  if (!Number.isInteger(mib) || mib < 1 || mib > MAX_MIB) error(404, `Between 1 and ${MAX_MIB} MiB, please`);
  const blocks = (mib * 1024 * 1024) / BLOCK;
  let next = 0;
  const body = new ReadableStream({
    pull(controller) {
      if (next === blocks) controller.close();
      else controller.enqueue(patternBlock(next++));
    },
  });
  return new Response(body, {
    headers: {
      'content-type': 'application/octet-stream',
      'content-disposition': `attachment; filename="pattern-${mib}.bin"`,
    },
  });
}
