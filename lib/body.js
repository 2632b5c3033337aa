'use strict';
// The body of a request on its way to the user: delivered at once to an attached handler, held (and the connection
// paused) while there is none or while the user has paused.

const { hot, touched, guarded, lend, Op } = require('./engine');

const UNKNOWN_LENGTH = 0xffffffffffffffffn;

class RequestBody {
  #slot;
  #generation;
  #handler = null;
  /** Chunks that nobody has taken: [chunk, last, remaining]. */
  #held = [];
  #paused = false;
  #loopPaused = false;
  #deliveryDue = false;
  #over = false;
  /** The handler is ours and keeps the chunks. */
  #keeps = false;
  remaining;

  constructor(slot, generation, hasBody) {
    this.#slot = slot;
    this.#generation = generation;
    this.remaining = hasBody ? UNKNOWN_LENGTH : 0n;
    // An empty body still gives one call.
    if (!hasBody) this.#held.push([new ArrayBuffer(0), true, 0n]);
  }

  push(chunk, last, remaining) {
    this.remaining = remaining;
    if (this.#handler !== null && !this.#paused && this.#held.length === 0) {
      this.#handler(this.#keeps ? chunk : lend(chunk), last, remaining);
      return;
    }
    this.#held.push([chunk, last, remaining]);
    this.#pauseLoop(true);
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

  /** Nobody will take what is left. */
  discard() {
    this.#over = true;
    this.#held.length = 0;
  }

  /** Gathers the whole body; null when it is larger than `maxSize`. */
  collect(maxSize, handler) {
    let chunks = [];
    let size = 0;
    this.attach((chunk, last) => {
      if (chunks === null) return;
      size += chunk.byteLength;
      if (size > maxSize) {
        chunks = null;
        handler(null);
        return;
      }
      if (last && chunks.length === 0) {
        chunks = null;
        handler(chunk);
        return;
      }
      chunks.push(chunk);
      if (!last) return;
      const whole = new Uint8Array(size);
      let at = 0;
      for (const part of chunks) {
        whole.set(new Uint8Array(part), at);
        at += part.byteLength;
      }
      chunks = null;
      handler(whole.buffer);
    }, true);
  }

  #deliverSoon() {
    if (this.#deliveryDue || (this.#held.length === 0 && !this.#loopPaused)) return;
    this.#deliveryDue = true;
    process.nextTick(() => this.#deliver());
  }

  #deliver() {
    this.#deliveryDue = false;
    while (this.#held.length > 0 && !this.#paused && !this.#over && this.#handler !== null) {
      const [chunk, last, remaining] = this.#held.shift();
      guarded(this.#handler, chunk, last, remaining);
    }
    if (this.#held.length === 0 && !this.#paused && this.#handler !== null) this.#pauseLoop(false);
  }

  #pauseLoop(pause) {
    if (this.#over || this.#loopPaused === pause) return;
    this.#loopPaused = pause;
    hot.command(pause ? Op.PAUSE : Op.RESUME, this.#slot, this.#generation, 0);
    touched();
  }
}

module.exports = { RequestBody };
