'use strict';
// Requests of a connection that came before the response to an earlier one was complete: they wait here, in order, each
// for an event of its own.

const { calls } = require('./binding');
const { later } = require('./scheduling');

/** By slot: { slot, generation, app, events } of a connection with requests that wait. */
const lines = [];
/** By slot: the generation of the last connection of which no further request becomes an object; -1: none. */
const over = [];

/** Takes a waiting request; filled in by lib/events.js. */
const taker = { take: null };

/** Both tables have a place for the slot: looking behind the end of an array costs more than all the rest here. */
function reach(slot) {
  while (lines.length <= slot) {
    lines.push(undefined);
    over.push(-1);
  }
}

/** Whether there is anything to be known of the slot; most have never had a line, nor an end that JavaScript decided. */
function isConcerned(slot) {
  if (slot >= lines.length) reach(slot);
  return lines[slot] !== undefined || over[slot] !== -1;
}

/** Whether requests of this connection are for nobody any more. */
const isOver = (slot, generation) => over[slot] === generation;

/** Whether requests of this connection wait, also while none is being answered. */
const waits = (slot, generation) => lines[slot] !== undefined && lines[slot].generation === generation;

/** Puts a request, the arguments of its event, behind the others. */
function park(slot, generation, handler, flags, app, offset, length) {
  reach(slot);
  if (!waits(slot, generation)) lines[slot] = { slot, generation, app, events: [] };
  // Its block is copied: the event's batch is gone before its turn comes.
  lines[slot].events.push([slot, generation, handler, flags, app, calls.park(offset, length), length]);
}

/** The response is complete: the next request has its turn. */
function proceed(slot, generation) {
  if (lines[slot] !== undefined && waits(slot, generation)) later(handOver, lines[slot]);
}

function handOver(line) {
  // Ended meanwhile, and perhaps another connection's.
  if (lines[line.slot] !== line) return;
  const event = line.events.shift();
  if (line.events.length === 0) lines[line.slot] = undefined;
  try {
    taker.take(...event);
  } finally {
    calls.unpark(event[5]);
  }
}

/** The connection ends or becomes something else: no request that waits or is still to come gets a handler. */
function end(slot, generation) {
  reach(slot);
  over[slot] = generation;
  if (!waits(slot, generation)) return;
  for (const event of lines[slot].events) calls.unpark(event[5]);
  lines[slot] = undefined;
}

/** The same for all connections of an app; without one, for all there are. */
function endAll(app) {
  for (const line of lines.filter((each) => each !== undefined)) {
    if (app === undefined || line.app === app) end(line.slot, line.generation);
  }
}

module.exports = { taker, isConcerned, isOver, waits, park, proceed, end, endAll };
