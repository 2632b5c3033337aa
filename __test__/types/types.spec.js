'use strict';
// Compares the types with the module and with programs: all that index.d.ts declares exists and the reverse,
// the sample uses all of it, and a program for the originals compiles against their types and against ours.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const test = require('node:test');
const ts = require('typescript');
const { PEERS, ROOT, members, missing } = require('./peers');

const DECLARED = path.join(ROOT, 'index.d.ts');
const sources = ts.createSourceFile(
  DECLARED,
  fs.readFileSync(DECLARED, 'utf8'),
  ts.ScriptTarget.Latest,
  true,
);
const declarations = [...sources.statements];

const nameOf = (node) => node.name?.getText(sources);

/** The names of the exported values. */
function declaredValues() {
  return declarations.flatMap((node) => {
    if (ts.isVariableStatement(node)) return node.declarationList.declarations.map(nameOf);
    return ts.isFunctionDeclaration(node) || ts.isClassDeclaration(node) || ts.isEnumDeclaration(node)
      ? [nameOf(node)]
      : [];
  });
}

/** The names of the members of an exported interface or class. */
function declaredMembers(of) {
  const names = declarations.find((node) => nameOf(node) === of).members.map(nameOf);
  return [...new Set(names.filter(Boolean))].sort();
}

test('index.d.ts declares the values that index.js exports', () => {
  assert.deepEqual([...new Set(declaredValues())].sort(), members(ROOT).exports);
});

const OBJECTS = {
  TemplatedApp: 'app',
  HttpResponse: 'res',
  HttpRequest: 'req',
  WebSocket: 'ws',
  DeclarativeResponse: 'declarative',
};
/** Members of the objects of an SSLApp alone, which are optional in the types. */
const SECURE = { HttpResponse: ['getX509Certificate'] };
for (const [type, object] of Object.entries(OBJECTS)) {
  test(`index.d.ts declares the members of ${type}`, () => {
    const expected = [...members(ROOT)[object], ...(SECURE[type] ?? [])].sort();
    assert.deepEqual(declaredMembers(type), expected);
  });
}

test('every declaration and every member is described', () => {
  const members = declarations.flatMap((node) => [node, ...(node.members ?? [])]);
  const bare = members.filter((node) => ts.getJSDocCommentsAndTags(node).length === 0);
  const silent = bare.map((node) => nameOf(node) ?? node.getText(sources).slice(0, 40));
  assert.deepEqual(silent, []);
});

test('the sample uses every value, member and option', () => {
  const sample = fs.readFileSync(path.join(__dirname, 'members.cts'), 'utf8');
  const names = [
    ...declaredValues(),
    ...['AppOptions', 'MetricsOptions', 'MultipartField', 'WebSocketBehavior'].flatMap(declaredMembers),
  ];
  for (const type of Object.keys(OBJECTS)) names.push(...declaredMembers(type));
  assert.deepEqual(
    names.filter((name) => !new RegExp(`\\b${name}\\b`).test(sample)),
    [],
  );
});

/** Returns the errors of tsc for `files` when `uWebSockets.js` has the types in `types`. */
function complaints(files, types) {
  const config = path.join(__dirname, 'tsconfig.json');
  const { options } = ts.parseJsonConfigFileContent(
    ts.readConfigFile(config, ts.sys.readFile).config,
    ts.sys,
    __dirname,
  );
  const program = ts.createProgram(files, { ...options, paths: { 'uWebSockets.js': [types] } });
  return ts.getPreEmitDiagnostics(program).map(({ messageText, file }) => {
    return `${file?.fileName}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`;
  });
}

const program = path.join(__dirname, 'program.mts');

test('a program for the original compiles against ours', () => {
  assert.deepEqual(complaints([program], DECLARED), []);
});

for (const [version, { types }] of Object.entries(PEERS)) {
  test(
    `the same program compiles against the types of uWebSockets.js ${version}`,
    { skip: missing(types) },
    () => {
      assert.deepEqual(complaints([program], types), []);
    },
  );
}

const newest = PEERS['20.57'].types;

test('our objects can be passed to code for uWebSockets.js 20.57', { skip: missing(newest) }, () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'uws-types-'));
  try {
    const file = path.join(folder, 'assignable.cts');
    fs.writeFileSync(file, assignable(path.join(ROOT, 'index.js'), newest.replace(/\.d\.ts$/, '.js')));
    assert.deepEqual(complaints([file], newest), []);
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
});

/** A file whose functions return our types where those of the original are declared. */
function assignable(ours, theirs) {
  const give = (name, arguments_ = '') => `(x: ours.${name}${arguments_}): theirs.${name}${arguments_} => x`;
  const take = (name, arguments_ = '') => `(x: theirs.${name}${arguments_}): ours.${name}${arguments_} => x`;
  const exchanges = [
    give('TemplatedApp'),
    give('HttpResponse'),
    give('HttpRequest'),
    give('WebSocket', '<{ id: number }>'),
    give('us_listen_socket'),
    take('RecognizedString'),
    take('AppOptions'),
  ];
  const imports = Object.entries({ ours, theirs }).map(
    ([name, at]) => `import ${name} = require(${JSON.stringify(at)});\n`,
  );
  return `${imports.join('')}export = [${exchanges.join(',\n')}];\n`;
}
