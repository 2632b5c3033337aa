'use strict';
// Requests that arrived before the response to an earlier one on their connection was complete. They wait
// here, in order, and each is handled in an event of its own.

const { calls } = require('./binding');
const { apps, start } = require('./engine');
const { Answer, Limit, MAX_UNSENT, NOBODY, Op, exchangeOf } = require('./layout');
const { later } = require('./scheduling');

/** The connections with requests that wait, by slot: { slot, generation, app, events, held, ended }. */
const lines = [];
/** The generation of the last connection whose further requests are ignored, by slot; -1: none. */
const over = [];

/** The connections, generations by slot, whose last response the kernel has not taken at once. */
const slow = new Map();

/**
 * The functions that take a waiting request, and tell the one being answered of the peer's end; lib/events.js
 * sets them.
 */
const taker = { take: null, tellEnd: null };

/** Extends both tables to the slot: reading past the end of an array is slower than everything else here. */
function reach(slot) {
  while (lines.length <= slot) {
    lines.push(undefined);
    over.push(-1);
  }
}

/**
 * Whether this module knows anything of the slot. In most slots no request ever waited, nor did JavaScript
 * end a connection.
 */
function isConcerned(slot) {
  if (slot >= lines.length) reach(slot);
  return lines[slot] !== undefined || over[slot] !== -1;
}

/** Whether requests of this connection are ignored. */
const isOver = (slot, generation) => over[slot] === generation;

/** Whether requests of this connection wait, even if none is being answered at the moment. */
const waits = (slot, generation) => lines[slot] !== undefined && lines[slot].generation === generation;

/** Queues a request, given by the arguments of its event. */
function park(slot, generation, handler, flags, app, offset, length) {
  reach(slot);
  if (!waits(slot, generation)) {
    // A line of an earlier connection would keep the copies of its requests.
    if (lines[slot] !== undefined) end(slot, lines[slot].generation);
    lines[slot] = { slot, generation, app, events: [], held: false, ended: false };
  }
  // The block of the request is copied, since the batch of its event is gone before its turn comes.
  lines[slot].events.push([slot, generation, handler, flags, app, calls.park(offset, length), length]);
}

/** The response is complete, so the next request has its turn. `answer`: that of its last bytes. */
function proceed(slot, generation, answer) {
  if (answer !== Answer.SENT) slow.set(slot, generation);
  if (lines[slot] === undefined || !waits(slot, generation)) return;
  if (isFull(slot, generation, lines[slot].app)) hold(lines[slot]);
  else later(handOver, lines[slot]);
}

/** Whether the kernel has not taken the last response of this connection at once. */
function wasSlow(slot, generation) {
  if (slow.size === 0) return false;
  const marked = slow.get(slot);
  // An earlier connection has ended behind such a response.
  if (marked !== generation && marked !== undefined) slow.delete(slot);
  return marked === generation;
}

/**
 * Whether so much of earlier responses waits to be sent that no other request of the connection is handled.
 * A client that reads none of them would otherwise have all of them kept in memory.
 */
function isFull(slot, generation, app) {
  const { maxUnsent } = apps[app];
  // Whether the bytes have to be counted was known with the answer, unless the app allows fewer of them.
  if (maxUnsent >= MAX_UNSENT && !wasSlow(slot, generation)) return false;
  if (calls.unsent(slot, generation) > maxUnsent) return true;
  slow.delete(slot);
  return false;
}

/** The next request of the line waits until `goOn`. */
function hold(line) {
  line.held = true;
  start().countBreach(line.app, Limit.MAX_UNSENT_BYTES);
  calls.command(Op.WANT_WRITABLE, line.slot, line.generation, 0);
}

/**
 * Queues a request behind a response that is complete but for the most part not sent; its arguments are those
 * of its event.
 */
function parkHeld(slot, generation, ...more) {
  park(slot, generation, ...more);
  hold(lines[slot]);
}

/**
 * There is room for the response of that exchange. The one before may have asked for the event as well, and
 * been completed since.
 */
function goOn(slot, generation, exchange) {
  const line = lines[slot];
  if (line === undefined || !waits(slot, generation) || !line.held) return;
  if (exchangeOf(line.events[0][3]) !== exchange) return;
  line.held = false;
  handOver(line);
}

/**
 * The peer has ended its side while no request of the connection is being answered. The loop says so once,
 * so those that wait are told when they have been handled.
 */
function noteEnd(slot, generation) {
  if (waits(slot, generation)) lines[slot].ended = true;
}

function handOver(line) {
  // The connection has ended since, and the slot may belong to another one.
  if (lines[line.slot] !== line) return;
  const event = line.events.shift();
  if (line.events.length === 0) lines[line.slot] = undefined;
  if (line.ended) later(taker.tellEnd, line);
  try {
    taker.take(...event);
  } finally {
    calls.unpark(event[5]);
  }
}

/** Whether a generation of a slot came before another one. They have 31 bits and wrap. */
function isEarlier(generation, than) {
  const behind = (than - generation) & 0x7fffffff;
  return behind !== 0 && behind <= 0x3fffffff;
}

/**
 * The connection ends or is upgraded: no request that waits or is still to come is given to a handler. A
 * filter may close a connection that has ended long since, and whose slot has another one by now.
 */
function end(slot, generation) {
  // The response of a filter names no exchange, and the tables have no place for it.
  if (slot === NOBODY) return;
  reach(slot);
  if (over[slot] === -1 || !isEarlier(generation, over[slot])) over[slot] = generation;
  if (slow.get(slot) === generation) slow.delete(slot);
  if (!waits(slot, generation)) return;
  for (const event of lines[slot].events) calls.unpark(event[5]);
  lines[slot] = undefined;
}

/** Ends all connections of an app; without an argument, those of all apps. */
function endAll(app) {
  for (const line of lines.filter((each) => each !== undefined)) {
    if (app === undefined || line.app === app) end(line.slot, line.generation);
  }
}

module.exports = {
  taker,
  isConcerned,
  isOver,
  waits,
  park,
  parkHeld,
  isFull,
  proceed,
  goOn,
  noteEnd,
  end,
  endAll,
};
