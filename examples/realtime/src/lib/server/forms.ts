/** Forms of pages without JavaScript, or of pages that are used before it has started. */
import { error, fail, redirect, type ActionFailure, type RequestEvent } from '@sveltejs/kit';
import { LiveError } from 'svelte-realtime/server';
import type { Context } from './context';
import { stores } from './stores';

const STATUS: Record<string, number> = {
  FORBIDDEN: 403,
  NOT_FOUND: 404,
  CONFLICT: 409,
  RATE_LIMITED: 429,
  OVERLOADED: 503,
};

/** Returns an action that does what a live function does, and then shows the page anew. */
export function action<Event extends RequestEvent>(
  call: (ctx: Context, field: (name: string) => string, event: Event) => unknown,
): (event: Event) => Promise<ActionFailure<App.Returned>> {
  return async (event) => {
    const form = await formOf(event.request);
    const field = (name: string) => {
      const value = form.get(name);
      return typeof value === 'string' ? value : '';
    };
    try {
      await call(contextOf(event), field, event);
    } catch (thrown) {
      if (!(thrown instanceof LiveError)) throw thrown;
      return fail(STATUS[thrown.code] ?? 400, { error: thrown.message, text: field('text') });
    }
    redirect(303, event.url.pathname);
  };
}

/** A body that is no form, or too large, is answered with 400. */
export async function formOf(request: Request): Promise<FormData> {
  try {
    return await request.formData();
  } catch {
    error(400, 'The form cannot be read');
  }
}

/** Live functions that forms call use no more of their context than this. */
function contextOf({ platform, locals }: RequestEvent): Context {
  return { user: locals.visitor, platform: stores.bridge.wrap(platform!) } as unknown as Context;
}
