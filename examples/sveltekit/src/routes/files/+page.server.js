import { fail } from '@sveltejs/kit';
import { list, store } from '$lib/server/files.js';

export async function load() {
  return { files: await list() };
}

export const actions = {
  default: async ({ request }) => {
    const file = (await request.formData()).get('file');
    if (!(file instanceof File) || file.size === 0) return fail(400, { error: 'Choose a file first.' });
    return { stored: await store(file) };
  },
};
