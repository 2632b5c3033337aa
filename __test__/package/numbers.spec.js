'use strict';
// Events, commands, flags and the instructions of declared responses have numbers in lib/ and in src/, which
// must be the same.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');

const ROOT = path.join(__dirname, '../..');
const lib = (name) => require(path.join(ROOT, 'lib', name));
const source = (name) => fs.readFileSync(path.join(ROOT, 'src', name), 'utf8');

/** Returns the text between the braces that follow `head`. */
function block(text, head) {
  const from = text.indexOf(`${head} {`);
  assert.ok(from >= 0, `there is no ${head}`);
  return text.slice(from, text.indexOf('\n}', from));
}

/** Removes comments, which may contain anything. */
const bare = (text) => text.replaceAll(/\/\/.*/g, '');

/** Reads `Name = 1,` of an enum, with names as JavaScript writes them. */
function variants(file, name) {
  const found = bare(block(source(file), `pub enum ${name}`)).matchAll(/^\s*(\w+) = (\d+),/gm);
  const upper = (word) => word.replaceAll(/(?<=[a-z])(?=[A-Z])/g, '_').toUpperCase();
  return Object.fromEntries([...found].map(([, variant, number]) => [upper(variant), Number(number)]));
}

/** Reads `pub const NAME: type = 1;` of a module. */
function constants(file, name) {
  const text = bare(name === undefined ? source(file) : block(source(file), `pub mod ${name}`));
  const found = text.matchAll(/pub const (\w+): \w+ = ([^;]+);/g);
  return Object.fromEntries([...found].map(([, constant, value]) => [constant, number(value)]));
}

/** Reads a literal, or one shifted by another. */
function number(text) {
  const [value, shift = '0'] = text.replaceAll('_', '').split('<<');
  return Number(value) * 2 ** Number(shift);
}

test('kinds of events, and the answers of native calls', () => {
  const { Kind, EVENT_WORDS } = lib('engine');
  assert.deepEqual({ ...Kind }, variants('channel/layout.rs', 'EventKind'));
  assert.ok(Object.keys(Kind).length > 15);
  assert.equal(EVENT_WORDS, lib('binding').load().constants().eventWords);
  assert.equal(lib('engine').ANSWER, constants('bridge/calls.rs').ANSWER);
  assert.equal(lib('engine').NEITHER, constants('bridge/calls.rs').NEITHER);
});

test('commands: those that JavaScript numbers itself', () => {
  const { Op } = lib('engine');
  const all = variants('channel/layout.rs', 'Op');
  assert.ok(Object.keys(Op).length > 12);
  for (const [name, value] of Object.entries(Op)) assert.equal(value, all[name], name);
});

test('flags', () => {
  const { Flag, Respond, BODY_SHIFT } = lib('response');
  assert.equal(BODY_SHIFT, constants('channel/layout.rs').BODY_SHIFT);
  const { Send } = lib('websocket');
  const { WANTS } = lib('behavior');
  const upper = (object) => Object.fromEntries(Object.entries(object).map(([k, v]) => [k.toUpperCase(), v]));
  assert.deepEqual({ ...Flag }, constants('channel/layout.rs', 'request_flag'));
  assert.deepEqual({ ...Respond }, constants('channel/layout.rs', 'respond_flag'));
  assert.deepEqual({ ...Send }, constants('channel/layout.rs', 'send_flag'));
  assert.deepEqual(upper(WANTS), constants('event_loop/context.rs', 'wants'));
  for (const flags of [Flag, Respond, Send, WANTS]) assert.ok(Object.keys(flags).length > 3);
});

test('instructions of a declared response, and how large its body may be', () => {
  const { Step, MAX_BODY } = lib('declarative');
  const parser = block(source('routing/declarative.rs'), 'impl Program');
  const known = [...parser.matchAll(/^\s*(\d+) => program\.(?:steps\.push\(Step::)?(\w+)/gm)];
  assert.deepEqual(
    known.map(([, value]) => Number(value)),
    Object.values(Step).filter((value) => value !== Step.PARAMETER),
  );
  const names = {
    HEADER: 'header',
    BODY: 'Body',
    QUERY: 'Query',
    REQUEST_HEADER: 'RequestHeader',
    TEXT: 'Text',
  };
  for (const [, value, name] of known) {
    const step = Object.keys(Step).find((key) => Step[key] === Number(value));
    assert.equal(names[step] ?? step.toLowerCase(), name);
  }
  assert.equal(MAX_BODY, constants('event_loop/connection/declared.rs').MAX_DECLARED_BODY);
});
