'use strict';

// Reads from a shared library of Linux what it asks of the system that loads it.

const fs = require('node:fs');

const MACHINES = { 62: 'x64', 183: 'arm64' };
const SECTION = { DYNAMIC: 6, DYNAMIC_SYMBOLS: 11, NEEDED_VERSIONS: 0x6ffffffe };
const NEEDED = 1n;

/**
 * The processor, the needed libraries, the needed versions of their symbols, and the symbols that it
 * defines. Throws if the file is not a library for 64-bit little-endian Linux.
 */
function readElf(file) {
  const bytes = fs.readFileSync(file);
  if (bytes.length < 64 || bytes.readUInt32BE(0) !== 0x7f454c46 || bytes.readUInt16BE(4) !== 0x0201) {
    throw new Error(`${file} is no 64-bit little-endian ELF file`);
  }
  try {
    const sections = sectionsOf(bytes);
    return {
      cpu: MACHINES[bytes.readUInt16LE(18)],
      needed: neededLibraries(bytes, sections),
      versions: neededVersions(bytes, sections),
      defined: definedSymbols(bytes, sections),
    };
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new Error(`${file} is cut off or damaged`, { cause: error });
  }
}

function sectionsOf(bytes) {
  const at = number(bytes.readBigUInt64LE(40));
  const size = bytes.readUInt16LE(58);
  return Array.from({ length: bytes.readUInt16LE(60) }, (_, index) => {
    const header = at + index * size;
    return {
      type: bytes.readUInt32LE(header + 4),
      offset: number(bytes.readBigUInt64LE(header + 24)),
      size: number(bytes.readBigUInt64LE(header + 32)),
      link: bytes.readUInt32LE(header + 40),
      info: bytes.readUInt32LE(header + 44),
    };
  });
}

const number = (value) => {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new RangeError('too large');
  return Number(value);
};

/** The section of a type, and a function that reads names from the table of strings linked with it. */
function find(bytes, sections, type) {
  const section = sections.find((each) => each.type === type);
  if (!section) return {};
  const { offset } = sections[section.link] ?? {};
  const text = (at) => {
    const end = bytes.indexOf(0, offset + at);
    if (!(end >= 0)) throw new RangeError('a name without an end');
    return bytes.toString('latin1', offset + at, end);
  };
  return { section, text };
}

function neededLibraries(bytes, sections) {
  const { section, text } = find(bytes, sections, SECTION.DYNAMIC);
  const names = [];
  for (let at = section?.offset; at < section?.offset + section?.size; at += 16) {
    const value = bytes.readBigUInt64LE(at + 8);
    if (bytes.readBigUInt64LE(at) === NEEDED) names.push(text(number(value)));
  }
  return names;
}

function neededVersions(bytes, sections) {
  const { section, text } = find(bytes, sections, SECTION.NEEDED_VERSIONS);
  const names = new Set();
  let library = section?.offset;
  for (let left = section?.info ?? 0; left > 0; left--) {
    let version = library + bytes.readUInt32LE(library + 8);
    for (let more = bytes.readUInt16LE(library + 2); more > 0; more--) {
      names.add(text(bytes.readUInt32LE(version + 8)));
      version += bytes.readUInt32LE(version + 12);
    }
    library += bytes.readUInt32LE(library + 12);
  }
  return [...names];
}

function definedSymbols(bytes, sections) {
  const { section, text } = find(bytes, sections, SECTION.DYNAMIC_SYMBOLS);
  const names = [];
  for (let at = section?.offset; at < section?.offset + section?.size; at += 24) {
    const [index, isDefined] = [bytes.readUInt32LE(at), bytes.readUInt16LE(at + 6) !== 0];
    if (isDefined && index !== 0) names.push(text(index));
  }
  return names;
}

module.exports = { readElf };
