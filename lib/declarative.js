'use strict';
// DeclarativeResponse: a response described by instructions, which the loop executes without waking
// JavaScript.

const { types } = require('util');
const { Instruction, MAX_DECLARED_BODY } = require('./layout');
const { bytes, coerce, key, ofKey, requireArguments } = require('./validate');
const { requestInternals } = require('./request');
const { lowerCaseName, checkHeaderValue, checkFinalStatus } = require('./headers');

/** The most bytes of a name, a value or a status, whose length takes one byte in a program. */
const MAX_SHORT = 0xff;
/** The most bytes of literal text, whose length takes two. */
const MAX_LONG = 0xffff;

/** The most bytes of each text of an instruction. */
function longestOf(instruction) {
  return instruction === Instruction.END || instruction === Instruction.TEXT ? MAX_LONG : MAX_SHORT;
}

class DeclarativeResponse {
  #parts = [];

  #step(instruction, ...texts) {
    const longest = longestOf(instruction);
    // Text is copied, since the caller's buffer may change before end() is called.
    const all = texts.map((each) => Buffer.from(bytes(each)));
    if (all.some(({ length }) => length > longest)) throw new RangeError(`Data length exceeds ${longest}`);
    this.#parts.push(Buffer.of(instruction));
    for (const data of all) {
      const { length } = data;
      this.#parts.push(Buffer.from(longest === MAX_LONG ? [length & 0xff, length >> 8] : [length]), data);
    }
    return this;
  }

  writeStatus(status) {
    const value = key(status, 'status');
    checkFinalStatus(value);
    return this.#step(Instruction.STATUS, ofKey(value));
  }

  writeHeader(name, value) {
    const [header, content] = [key(name, 'key'), key(value, 'value')];
    lowerCaseName(header);
    checkHeaderValue(header, content);
    return this.#step(Instruction.HEADER, header, ofKey(content));
  }

  writeBody() {
    return this.#step(Instruction.BODY);
  }

  writeQueryValue(name) {
    requireArguments(arguments.length, 1);
    return this.#step(Instruction.QUERY, coerce(name, 'key'));
  }

  writeHeaderValue(name) {
    requireArguments(arguments.length, 1);
    return this.#step(Instruction.REQUEST_HEADER, coerce(name, 'key'));
  }

  write(value) {
    requireArguments(arguments.length, 1);
    return this.#step(Instruction.TEXT, coerce(value, 'value'));
  }

  writeParameterValue(name) {
    requireArguments(arguments.length, 1);
    return this.#step(Instruction.PARAMETER, coerce(name, 'key'));
  }

  /** Returns the program, which a route method takes in place of a handler. */
  end(value) {
    this.#step(Instruction.END, coerce(value, 'value'));
    return Uint8Array.from(Buffer.concat(this.#parts)).buffer;
  }
}

const isProgram = (value) => types.isArrayBuffer(value);

/** Reads the instructions of a program that the loop has accepted, each as [number, text, …]. */
function* stepsOf(program) {
  for (let at = 0, instruction; instruction !== Instruction.END;) {
    instruction = program[at++];
    const step = [instruction];
    const lengthBytes = longestOf(instruction) === MAX_LONG ? 2 : 1;
    for (let left = textsOf(instruction); left > 0; left--) {
      const start = at + lengthBytes;
      const end = start + program.readUIntLE(at, lengthBytes);
      step.push(program.subarray(start, end));
      at = end;
    }
    yield step;
  }
}

/** The number of texts of an instruction. */
function textsOf(instruction) {
  if (instruction === Instruction.BODY) return 0;
  return instruction === Instruction.HEADER ? 2 : 1;
}

/** Creates a handler that answers as the loop does. It is needed where a handler before it has yielded. */
function handlerOf(arrayBuffer) {
  // The program is copied, as in the loop, since the caller's buffer may change.
  const steps = [...stepsOf(Buffer.from(bytes(arrayBuffer)))];
  const head = steps.filter(([step]) => isOfHead(step));
  const content = steps.filter(([step]) => !isOfHead(step));
  return (res, req) => {
    const pieces = content.map(([step, key]) => (step === Instruction.BODY ? null : pieceOf(step, key, req)));
    if (!pieces.includes(null)) return void writeHead(res, head).end(Buffer.concat(pieces));
    res.onAborted(() => {});
    res.collectBody(MAX_DECLARED_BODY, (body) => {
      if (body === null) return void res.writeStatus('413 Content Too Large').end(undefined, true);
      writeHead(res, head).end(Buffer.concat(pieces.map((piece) => piece ?? Buffer.from(body))));
    });
  };
}

const isOfHead = (step) => step === Instruction.STATUS || step === Instruction.HEADER;

function writeHead(res, steps) {
  for (const [step, first, second] of steps) {
    if (step === Instruction.STATUS) res.writeStatus(first);
    else res.writeHeader(first, second);
  }
  return res;
}

function pieceOf(step, value, req) {
  if (step === Instruction.TEXT || step === Instruction.END) return value;
  if (step === Instruction.QUERY) return requestInternals.queryBytes(req, value);
  if (step === Instruction.REQUEST_HEADER) {
    return Buffer.from(req.getHeader(value.toString('latin1').toLowerCase()), 'latin1');
  }
  return requestInternals.parameterBytes(req, value);
}

module.exports = { DeclarativeResponse, isProgram, handlerOf };
