'use strict';
// Reads the ELF files of Linux: programs and libraries.

const fs = require('fs');

/** The ELF program header that names the dynamic loader (`PT_INTERP`). */
const INTERPRETER = 3;
/** The length of the header of an ELF file. */
const HEADER = 64;

/** Returns the part of an ELF file. */
function read(file, at, length) {
  const bytes = Buffer.alloc(length);
  return bytes.subarray(0, fs.readSync(file, bytes, 0, length, at));
}

/** Calls `use` with a file and its header. Returns `none` if it is no 64-bit little-endian ELF file. */
function withElf(path, none, use) {
  const file = fs.openSync(path, 'r');
  try {
    const head = read(file, 0, HEADER);
    const isElf = head.length === HEADER && head.toString('latin1', 0, 6) === '\x7fELF\x02\x01';
    return isElf ? use(file, head) : none;
  } finally {
    fs.closeSync(file);
  }
}

/** Returns the path of the dynamic loader that a program asks for; otherwise ''. */
function interpreterOf(path) {
  return withElf(path, '', (file, head) => {
    const [size, count] = [head.readUInt16LE(54), head.readUInt16LE(56)];
    const table = read(file, Number(head.readBigUInt64LE(32)), size * count);
    for (let at = 0; at + size <= table.length; at += size) {
      if (table.readUInt32LE(at) !== INTERPRETER) continue;
      const length = Math.min(Number(table.readBigUInt64LE(at + 32)), 4096);
      return read(file, Number(table.readBigUInt64LE(at + 8)), length).toString('latin1');
    }
    return '';
  });
}

/** Whether a library ends before its table of sections does, which linkers put at the end. */
function isCutOff(path) {
  return withElf(path, false, (file, head) => {
    const end = Number(head.readBigUInt64LE(40)) + head.readUInt16LE(58) * head.readUInt16LE(60);
    return fs.fstatSync(file).size < end;
  });
}

module.exports = { interpreterOf, isCutOff };
