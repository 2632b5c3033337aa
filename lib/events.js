'use strict';
// Receives the events: each is translated from numbers to objects and handlers of the program.

const { calls } = require('./binding');
const {
  handlers,
  connections,
  apps,
  receivers,
  lendPayload,
  countShutdowns,
  stop,
  failure,
} = require('./engine');
const { report, guarded, issueWarning } = require('./errors');
const { channels, tell } = require('./diagnostics');
const { BODY_LAST, EventKind, NO_MATCH, Op, RequestFlag, bodyLengthOf } = require('./layout');
const { drainNow } = require('./scheduling');
const { HttpRequest, requestInternals } = require('./request');
const { HttpResponse, SSLHttpResponse, responseInternals } = require('./response');
const pipeline = require('./pipeline');
const { Behaviour, behaviourAt } = require('./behavior');
const { websocketInternals, openWebSocket, publishDropped } = require('./websocket');

/** The result of a receiver that has run no code of the program since it drained the queues. */
const DRAINED = true;

// ---- HTTP

receivers[EventKind.REQUEST] = (slot, generation, handler, flags, app, offset, length) => {
  if (apps[app].closing > 0) return;
  if (connections[slot] !== undefined || pipeline.isConcerned(slot)) {
    if (pipeline.isOver(slot, generation)) return;
    if (connections[slot] !== undefined || pipeline.waits(slot, generation)) {
      pipeline.park(slot, generation, handler, flags, app, offset, length);
      return;
    }
  }
  if ((flags & RequestFlag.AHEAD) !== 0 && pipeline.isFull(slot, generation, app)) {
    return void pipeline.parkHeld(slot, generation, handler, flags, app, offset, length);
  }
  return takeRequest(slot, generation, handler, flags, app, offset, length);
};

pipeline.taker.take = takeRequest;
pipeline.taker.tellEnd = ({ slot, generation }) => receivers[EventKind.PEER_END](slot, generation);

function takeRequest(slot, generation, handler, flags, app, offset, length) {
  const res = newResponse(slot, generation, flags, app);
  const req = new HttpRequest(offset, length, res);
  const body = bodyLengthOf(flags);
  if ((flags & RequestFlag.HAS_BODY) !== 0 && body === 0) {
    responseInternals.expectBody(res, calls.requestHeader(offset, length, 'content-length'));
  }
  connections[slot] = res;
  let match = 0;
  for (let id = handler; id !== NO_MATCH; id = calls.requestMatch(offset, length, ++match)) {
    const route = handlers[id];
    requestInternals.enter(req, match, route);
    responseInternals.enter(res, route);
    callRoute(route, res, req);
    // The request is also valid in the microtasks that its handler queued.
    const ws = route instanceof Behaviour ? websocketInternals.at(slot, generation) : undefined;
    if (ws === undefined) drainNow();
    else websocketInternals.openDuring(ws, drainNow);
    if (!requestInternals.hasYielded(req) || !responseInternals.isOpen(res)) {
      requestInternals.invalidate(req);
      if (!responseInternals.isOpen(res)) return DRAINED;
      if (!responseInternals.hasAbortHandler(res)) forgotten(res, req, route);
      else if (body !== 0) {
        guarded(responseInternals.data, res, calls.requestBody(offset, length, body), true, 0n);
      }
      return;
    }
  }
  requestInternals.invalidate(req);
  if (apps[app].ownsDefault) responseInternals.abortAndClose(res);
  else responseInternals.notFound(res);
}

function newResponse(slot, generation, flags, app) {
  const Response = apps[app].secure ? SSLHttpResponse : HttpResponse;
  return new Response(slot, generation, flags, app);
}

function callRoute(route, res, req) {
  try {
    if (route instanceof Behaviour) (route.upgrade ?? upgradeByDefault)(res, req, route);
    else route.handler(res, req);
  } catch (error) {
    failed(res, req, route, error);
  }
}

/**
 * Answers 500 for a handler that threw, before `uncaughtException` may end the process. If it does not, a
 * warning says which handler it was: the error is the program's own, and may have no stack.
 */
function failed(res, req, route, error) {
  const answer = !responseInternals.isOpen(res)
    ? 'the response was complete before'
    : responseInternals.hasBegun(res)
      ? 'closed the connection, since the response had begun'
      : 'answered 500';
  responseInternals.internalServerError(res);
  report(error);
  warn(route, () => `The handler of ${requestInternals.describe(req)} threw; ${answer}. ${THREW}`);
}

/**
 * Upgrades where there is no `upgrade` handler and the loop has not upgraded by itself: where there is an
 * `open` handler, which runs before the client has its answer, after a yield, or for a request with a body.
 */
function upgradeByDefault(res, req, route) {
  const header = (name) => req.getHeader(`sec-websocket-${name}`);
  const protocol = Buffer.from(header('protocol').split(',')[0].trim(), 'latin1');
  res.upgrade(undefined, header('key'), protocol, header('extensions'), route);
}

/** Routes that a warning was issued for already. */
const reported = new WeakSet();

/**
 * Warns of a handler, once for each route. The text is made at once: the request it describes is gone soon.
 */
function warn(route, text) {
  if (reported.has(route)) return;
  reported.add(route);
  guarded(issueWarning, `${text()} The route is '${route.title}'.`);
}

const THREW = 'Catch errors in the handler and respond there.';
const FORGOT = 'Respond in every case; to do so later, call res.onAborted before the handler returns.';

/** Answers 500 for a handler that did nothing with its response. The original aborts the process here. */
function forgotten(res, req, route) {
  responseInternals.internalServerError(res);
  warn(
    route,
    () =>
      `The handler of ${requestInternals.describe(req)} returned without responding or attaching an abort handler (res.onAborted); answered 500. ${FORGOT}`,
  );
}

receivers[EventKind.DATA] = (slot, generation, flags, low, high, offset, length) => {
  const res = responseInternals.at(slot, generation);
  if (res === undefined) return;
  const remaining = (BigInt(high) << 32n) | BigInt(low);
  responseInternals.data(res, calls.payload(offset, length), (flags & BODY_LAST) !== 0, remaining);
};

receivers[EventKind.WRITABLE] = (slot, generation, exchange) => {
  const res = responseInternals.at(slot, generation);
  if (res !== undefined) responseInternals.writable(res, exchange);
  else pipeline.goOn(slot, generation, exchange);
};

receivers[EventKind.PEER_END] = (slot, generation) => {
  const res = responseInternals.at(slot, generation);
  if (res !== undefined) responseInternals.abortAndClose(res);
  else pipeline.noteEnd(slot, generation);
};

receivers[EventKind.GONE] = (slot, generation, code, b, c, offset, length) => {
  const res = responseInternals.at(slot, generation);
  const ws = websocketInternals.at(slot, generation);
  try {
    if (res !== undefined) responseInternals.abort(res);
    else if (ws !== undefined) websocketInternals.over(ws, code, calls.payload(offset, length));
    else pipeline.end(slot, generation);
  } finally {
    calls.command(Op.RELEASE, slot, generation, 0);
  }
};

receivers[EventKind.FILTER] = (slot, generation, app, accepted, c, offset, length) => {
  const { filters } = apps[app];
  const res = newResponse(slot, generation, RequestFlag.HAS_BODY, app);
  responseInternals.becomeFiltered(res, calls.payload(offset, length));
  // A filter may add other filters, which are called from the next connection on.
  for (const filter of [...filters]) {
    guarded(filter, res, accepted ? 1 : -1);
    drainNow();
  }
  return DRAINED;
};

// ---- WebSocket

receivers[EventKind.OPEN] = (slot, generation, id) => {
  const behaviour = behaviourAt(id);
  if (behaviour.app.closing > 0) return;
  // A filter may have closed the connection.
  if (pipeline.isConcerned(slot) && pipeline.isOver(slot, generation)) return;
  openWebSocket(slot, generation, behaviour);
};

receivers[EventKind.MESSAGE] = (slot, generation, binary, b, c, offset, length) => {
  const ws = websocketInternals.at(slot, generation);
  if (ws !== undefined)
    websocketInternals.behaviour(ws).message(ws, lendPayload(offset, length), binary === 1);
};

receivers[EventKind.DROPPED] = (slot, generation, binary, b, c, offset, length) => {
  const ws = websocketInternals.at(slot, generation);
  if (ws === undefined) return;
  const data = calls.payload(offset, length);
  tell(channels.drop, publishDropped, ws, data, binary === 1);
  const { dropped } = websocketInternals.behaviour(ws);
  // A subscriber may have closed the socket.
  if (dropped !== null && websocketInternals.isOpen(ws)) dropped(ws, data, binary === 1);
};

receivers[EventKind.DRAIN] = (slot, generation) => {
  const ws = websocketInternals.at(slot, generation);
  if (ws !== undefined) websocketInternals.behaviour(ws).drain(ws);
};

receivers[EventKind.PING] = (slot, generation, a, b, c, offset, length) => {
  const ws = websocketInternals.at(slot, generation);
  if (ws !== undefined) websocketInternals.behaviour(ws).ping(ws, calls.payload(offset, length));
};

receivers[EventKind.PONG] = (slot, generation, a, b, c, offset, length) => {
  const ws = websocketInternals.at(slot, generation);
  if (ws !== undefined) websocketInternals.behaviour(ws).pong(ws, calls.payload(offset, length));
};

// ---- TLS

/** The handshake waits for the command, which says that the name has been looked for. */
receivers[EventKind.SERVER_NAME] = (slot, generation, app, b, c, offset, length) => {
  try {
    apps[app].missing(Buffer.from(calls.payload(offset, length)).toString());
  } finally {
    calls.command(Op.SERVER_NAME, slot, generation, 0);
  }
};

// ---- the loop itself

function limitMessage(app, count, limit) {
  return { app: apps[app].object, limit, count };
}

receivers[EventKind.BREACH] = (slot, generation, app, count, c, offset, length) => {
  const limit = Buffer.from(calls.payload(offset, length)).toString();
  tell(channels.limit, limitMessage, app, count, limit);
};

/** Ends every object of one app, or of all apps: for `app.close()`, and for a loop that has stopped. */
function endAll(app) {
  pipeline.endAll(app?.id);
  const isOf = (object) =>
    object !== undefined &&
    (websocketInternals.is(object)
      ? websocketInternals.isOf(object, app)
      : responseInternals.isOf(object, app));
  const end = (object) => {
    if (websocketInternals.is(object)) websocketInternals.overWith(object, app);
    else responseInternals.abandon(object);
  };
  // Handlers of some may upgrade others.
  for (let left; (left = connections.filter(isOf)).length > 0;) left.forEach(end);
}

/** Events of the app up to this one belonged to connections that `app.close()` has ended. */
receivers[EventKind.APP_CLOSED] = (slot, generation, app) => {
  apps[app].closing--;
};

/** The last connection of the app is over, and all ends of its objects were told before. */
receivers[EventKind.SHUT_DOWN] = (slot, generation, app, cut) => {
  const { shutdown } = apps[app];
  apps[app].shutdown = null;
  countShutdowns(-1);
  shutdown.resolve({ cut });
};

receivers[EventKind.PANIC] = (slot, generation, a, b, c, offset, length) => {
  const message = Buffer.from(calls.payload(offset, length)).toString();
  stop(new Error(`The event loop of uws-rs has stopped: ${message}`));
  endAll();
  for (const app of apps) failShutdown(app);
  throw failure();
};

/** A loop that has stopped says nothing more. */
function failShutdown(app) {
  const { shutdown } = app;
  if (shutdown === null || failure() === null) return;
  app.shutdown = null;
  countShutdowns(-1);
  shutdown.reject(failure());
}

module.exports = { endAll, failShutdown };
