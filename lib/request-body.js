'use strict';
// The body of a request on its way to the program. Chunks are delivered at once to an attached handler. They
// are held, and the connection is paused, while no handler is attached or the program has paused.

const { calls } = require('./binding');
const { touched, lend } = require('./engine');
const { Op, UNKNOWN_LENGTH } = require('./layout');
const { guarded } = require('./errors');
const { later } = require('./scheduling');

/**
 * Returns `bytes`, or a larger copy with room for `needed`. It grows with the bytes received, not with the
 * announced length.
 */
function withRoom(bytes, needed, announced) {
  if (bytes.length >= needed) return bytes;
  const grown = new Uint8Array(Math.min(announced, Math.max(needed, 2 * bytes.length)));
  grown.set(bytes);
  return grown;
}

class RequestBody {
  #slot;
  #generation;
  #handler = null;
  /** Chunks that are not delivered yet: [chunk, last, remaining]. */
  #held = [];
  #paused = false;
  /**
   * Whether the loop waits for a command before it reads on. After the first part of a body it waits by
   * itself.
   */
  #loopPaused;
  #deliveryDue = false;
  #over = false;
  /** The number of bytes that the handler has been given, modulo 2^32. */
  #taken = 0;
  /** Whether the handler is that of `collect`, which keeps the chunks. */
  #keeps = false;
  /** The number of bytes that the handler is still to be given. */
  remaining;

  /**
   * @param {string | number} announced the number of bytes that will come; 0: unknown
   * @param {boolean} isAwaited whether the loop sends the bytes; it sends the first part and waits
   */
  constructor(slot, generation, hasBody, announced, isAwaited) {
    this.#slot = slot;
    this.#generation = generation;
    this.#loopPaused = isAwaited;
    this.remaining = !hasBody ? 0n : announced === 0 ? UNKNOWN_LENGTH : BigInt(announced);
    // The handler is called once for an empty body, too.
    if (!hasBody) this.#held.push([new ArrayBuffer(0), true, 0n]);
  }

  push(chunk, last, remaining) {
    if (this.#handler !== null && !this.#paused && this.#held.length === 0) {
      this.#take(chunk, remaining);
      this.#handler(this.#keeps ? chunk : lend(chunk), last, remaining);
      return;
    }
    this.#held.push([chunk, last, remaining]);
    // Behind the last chunk there is nothing to pause, but the loop counts what is held.
    if (!last || chunk.byteLength > 0) this.#pauseLoop(true);
  }

  attach(handler, keeps = false) {
    this.#handler = handler;
    this.#keeps = keeps;
    this.#deliverSoon();
  }

  pause() {
    this.#paused = true;
    this.#pauseLoop(true);
  }

  resume() {
    this.#paused = false;
    this.#deliverSoon();
  }

  /** The response is over: what is left is delivered to nobody. */
  discard() {
    this.#over = true;
    this.#held.length = 0;
  }

  /** Gathers the whole body. The handler gets null when it is larger than `maxSize`. */
  collect(maxSize, handler) {
    let gathered = new Uint8Array(0);
    let size = 0;
    let over = false;
    this.attach((chunk, last, remaining) => {
      if (over) return;
      const end = size + chunk.byteLength;
      over = last || end > maxSize;
      if (end > maxSize) handler(null);
      else if (last && size === 0) handler(chunk);
      else {
        gathered = withRoom(gathered, end, end + Number(remaining));
        gathered.set(new Uint8Array(chunk), size);
        size = end;
        lend(chunk);
        if (last) handler(gathered.length === size ? gathered.buffer : gathered.buffer.slice(0, size));
      }
    }, true);
  }

  /** The chunk is about to be given to the handler. */
  #take(chunk, remaining) {
    this.#taken = (this.#taken + chunk.byteLength) >>> 0;
    this.remaining = remaining;
  }

  /** Delivers in an event of its own, so that the handler does not interrupt other code of the program. */
  #deliverSoon() {
    if (this.#deliveryDue || (this.#held.length === 0 && !this.#loopPaused)) return;
    this.#deliveryDue = true;
    later(RequestBody.#deliver, this);
  }

  static #deliver(body) {
    body.#deliveryDue = false;
    if (body.#over || body.#handler === null) return;
    if (body.#mayDeliver()) {
      const [chunk, last, remaining] = body.#held.shift();
      body.#take(chunk, remaining);
      guarded(body.#handler, body.#keeps ? chunk : lend(chunk), last, remaining);
    }
    if (body.#paused) return;
    if (body.#held.length > 0) body.#deliverSoon();
    else body.#pauseLoop(false);
  }

  /** Pausing does not hold back an end without bytes, as in the original. */
  #mayDeliver() {
    if (this.#held.length === 0) return false;
    const [chunk, last] = this.#held[0];
    return !this.#paused || (last && chunk.byteLength === 0);
  }

  #pauseLoop(pause) {
    if (this.#over || this.#loopPaused === pause) return;
    this.#loopPaused = pause;
    calls.command(pause ? Op.PAUSE : Op.RESUME, this.#slot, this.#generation, pause ? this.#taken : 0);
    touched();
  }
}

module.exports = { RequestBody };
