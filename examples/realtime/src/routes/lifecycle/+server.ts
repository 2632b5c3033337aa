import { error, json } from '@sveltejs/kit';
import { recorded, recording } from '$lib/server/lifecycle';

export function GET() {
  if (!recording) error(404);
  return json(recorded());
}

export function DELETE() {
  if (!recording) error(404);
  recorded().length = 0;
  return new Response(null, { status: 204 });
}
