/** The hooks that the adapter calls for WebSockets; the live functions themselves are in src/live. */
import type { WebSocketHandler } from 'svelte-adapter-uws';
import {
  LiveError,
  close as endStreams,
  createMessage,
  unsubscribe as endStream,
} from 'svelte-realtime/server';
import { begin } from '$lib/server/begin';
import { connectionOf, type Connection } from '$lib/server/connection';
import { record } from '$lib/server/lifecycle';
import { cursors } from '$lib/server/cursors';
import '$lib/server/engine/routes';
import { react } from '$lib/server/reactions';
import { stores } from '$lib/server/stores';
import { ROLE_COOKIE, VISITOR_COOKIE, visitorOf } from '$lib/visitor';

type Hooks = Required<WebSocketHandler<Connection>>;
type Socket = Parameters<Hooks['open']>[0];

/** Topics that nobody may subscribe to, and those of a role. */
const PRIVATE = /^private:/;
const STAGE = /^stage:(.*)$/;

/** Topics of one connection: their names are the client's to choose, so each is memory that it takes. */
const TOPICS_MAX = 200;

/** The rate limit of calls of one connection: a burst of 500, then 200 a second. */
const CALLS = { points: 500, intervalMs: 2500 };

/** Only visitors who have loaded a page, and so have the cookie, may connect; anybody else gets 401. */
export const upgrade: Hooks['upgrade'] = ({ cookies }) => {
  const visitor = visitorOf(cookies[VISITOR_COOKIE], cookies[ROLE_COOKIE]);
  record({ hook: 'upgrade', visitor: visitor?.id, detail: visitor ? 'accepted' : 'refused' });
  return visitor ? connectionOf(visitor) : false;
};

export const open: Hooks['open'] = (ws, { platform }) => {
  begin(platform);
  record({ hook: 'open', visitor: ws.getUserData().id });
};

const receive = createMessage({
  platform: (platform) => stores.bridge.wrap(platform),
  async beforeExecute(ws, path) {
    if ((ws as Socket).getTopics().length >= TOPICS_MAX)
      throw new LiveError('OVERLOADED', `${path}: at most ${TOPICS_MAX} topics at once`);
    const { connection } = (ws as Socket).getUserData();
    const { allowed, resetMs } = await stores.rateLimit.take(`calls:${connection}`, CALLS);
    if (!allowed) throw new LiveError('RATE_LIMITED', `${path}: again in ${Math.ceil(resetMs / 1000)} s`);
  },
  onUnhandled: (ws, data, platform) => void react(ws, data, platform),
});

export const message: Hooks['message'] = (ws, context) => {
  record({ hook: 'message', visitor: ws.getUserData().id, detail: context.data.byteLength });
  receive(ws, context);
};

export const subscribe: Hooks['subscribe'] = (ws, topic) => {
  const { id, role } = ws.getUserData();
  const denied =
    PRIVATE.test(topic) || (STAGE.exec(topic)?.[1] ?? role) !== role || ws.getTopics().length >= TOPICS_MAX;
  record({ hook: 'subscribe', visitor: id, topic, detail: denied ? 'denied' : 'allowed' });
  return !denied;
};

/** Adapter 0.3 has no such hook (see lib/compat/hooks.ws.ts); later releases call it. */
export const unsubscribe = (ws: Socket, topic: string, context: Parameters<typeof endStream>[2]): void => {
  record({ hook: 'unsubscribe', visitor: ws.getUserData().id, topic });
  endStream(ws, topic, context);
};

export const drain: Hooks['drain'] = (ws) => {
  record({ hook: 'drain', visitor: ws.getUserData().id });
};

export const close: Hooks['close'] = (ws, context) => {
  const { id, connection } = ws.getUserData();
  record({ hook: 'close', visitor: id, detail: context.code });
  const platform = stores.bridge.wrap(context.platform);
  // Adapter 0.3 does not say what was subscribed, and a closed WebSocket cannot be asked any more.
  const { subscriptions = new Set<string>() } = context as { subscriptions?: Set<string> };
  const ended = { platform, subscriptions };
  endStreams(ws, ended);
  cursors.remove(ws, platform);
  void stores.presence.gone(connection);
};
