'use strict';
// Reads the ELF files of Linux: programs and libraries.

const fs = require('fs');

/** The ELF program header that names the dynamic loader (`PT_INTERP`). */
const INTERPRETER = 3;

/** Returns the part of an ELF file. */
function read(file, at, length) {
  const bytes = Buffer.alloc(length);
  return bytes.subarray(0, fs.readSync(file, bytes, 0, length, at));
}

/** Returns the path of the dynamic loader that a 64-bit little-endian ELF file asks for; otherwise ''. */
function interpreterOf(path) {
  const file = fs.openSync(path, 'r');
  try {
    const head = read(file, 0, 64);
    if (head.toString('latin1', 0, 6) !== '\x7fELF\x02\x01') return '';
    const [size, count] = [head.readUInt16LE(54), head.readUInt16LE(56)];
    const table = read(file, Number(head.readBigUInt64LE(32)), size * count);
    for (let at = 0; at + size <= table.length; at += size) {
      if (table.readUInt32LE(at) !== INTERPRETER) continue;
      const length = Math.min(Number(table.readBigUInt64LE(at + 32)), 4096);
      return read(file, Number(table.readBigUInt64LE(at + 8)), length).toString('latin1');
    }
    return '';
  } finally {
    fs.closeSync(file);
  }
}

module.exports = { interpreterOf };
