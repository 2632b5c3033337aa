'use strict';
// DeclarativeResponse: a response described by instructions, which the loop executes without waking
// JavaScript.

const { types } = require('util');
const { Instruction, MAX_DECLARED_BODY } = require('./layout');
const { bytes, coerce, key, ofKey, requireArguments } = require('./validate');
const { requestInternals } = require('./request');
const { lowerCaseName, checkHeaderValue, checkFinalStatus } = require('./headers');

class DeclarativeResponse {
  #parts = [];

  #step(number, ...texts) {
    this.#parts.push(Buffer.of(number));
    for (const each of texts) {
      const data = bytes(each);
      const length = Buffer.alloc(4);
      length.writeUInt32LE(data.length);
      // The data is copied, since the caller's buffer may change before end() is called.
      this.#parts.push(length, Buffer.from(data));
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
    if (value !== undefined) this.#step(Instruction.TEXT, coerce(value, 'value'));
    return Uint8Array.from(Buffer.concat(this.#parts)).buffer;
  }
}

const isProgram = (value) => types.isArrayBuffer(value);

/** Reads the instructions, each as [number, text, …]. */
function* stepsOf(program) {
  for (let at = 0; at < program.length;) {
    const step = [program[at++]];
    for (
      let left = step[0] === Instruction.HEADER ? 2 : step[0] === Instruction.BODY ? 0 : 1;
      left > 0;
      left--
    ) {
      const end = at + 4 + program.readUInt32LE(at);
      step.push(program.subarray(at + 4, end));
      at = end;
    }
    yield step;
  }
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
  if (step === Instruction.TEXT) return value;
  if (step === Instruction.QUERY) return requestInternals.queryBytes(req, value);
  if (step === Instruction.REQUEST_HEADER) {
    return Buffer.from(req.getHeader(value.toString('latin1').toLowerCase()), 'latin1');
  }
  return requestInternals.parameterBytes(req, value);
}

module.exports = { DeclarativeResponse, isProgram, handlerOf };
