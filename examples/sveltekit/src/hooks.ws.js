import { guest } from '$lib/guest.js';
import { catchUp, count, presence, replay } from '$lib/server/room.js';
import { ROOM } from '$lib/topics.js';

const decoder = new TextDecoder();

/** Only visitors who have loaded a page, and so have the cookie, may connect. */
export function upgrade({ cookies }) {
  return guest(cookies.guest) ?? false;
}

export function subscribe(ws, topic, context) {
  presence.hooks.subscribe(ws, topic, context);
}

export function message(ws, { data, platform }) {
  let request;
  try {
    request = JSON.parse(decoder.decode(data));
  } catch {
    return;
  }
  if (request.type === 'count' && (request.by === 1 || request.by === -1)) {
    count(platform, request.by);
  } else if (request.type === 'replay' && request.topic === ROOM && Number.isSafeInteger(request.since)) {
    catchUp();
    replay.replay(ws, ROOM, request.since, platform, request.reqId);
  }
}

export function close(ws, context) {
  presence.hooks.close(ws, context);
}
