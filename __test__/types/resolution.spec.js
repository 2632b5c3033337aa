'use strict';
// Programs that import the types by the name of the original, as each way of resolving modules finds them.
// The package is installed under that name, and only its own manifest says where the types are.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { after, before, test } = require('node:test');
const ts = require('typescript');
const { ROOT } = require('./peers');

let folder;
before(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'uws-resolution-'));
  const at = path.join(folder, 'node_modules', 'uWebSockets.js');
  fs.mkdirSync(at, { recursive: true });
  for (const name of ['package.json', 'index.d.ts', 'index.d.mts', 'index.js', 'index.mjs']) {
    fs.copyFileSync(path.join(ROOT, name), path.join(at, name));
  }
});
after(() => fs.rmSync(folder, { recursive: true, force: true }));

const USE = `
interface Player { name: string }
export const open = (ws: WebSocket<Player>): void => console.log(ws.getUserData().name.length);
export const get = (res: HttpResponse): void => void res.end('x');
export const serve = (app: TemplatedApp): TemplatedApp => app.get('/*', get).ws<Player>('/*', { open });
// @ts-expect-error Otherwise the types would be found as any.
export const mistake = (ws: WebSocket<Player>): number => ws.getUserData().name;
`;
const TYPES = `import type { WebSocket, HttpResponse, TemplatedApp } from 'uWebSockets.js';${USE}`;
const CHECKS = `
serve(uWS.App()).listen(0, (token: uWS.us_listen_socket | false) => void (token && uWS.us_socket_local_port(token)));
export const socket = (ws: uWS.WebSocket<Player>): void => open(ws);
// @ts-expect-error There is no member of this name.
uWS.none;
`;

/** The forms of programs by what a resolution takes them for. */
const MODULE = {
  'types of a module': TYPES,
  'named imports': `import { App, us_socket_local_port } from 'uWebSockets.js';\n${TYPES}
serve(App()).listen(0, (token) => void (token && us_socket_local_port(token)));`,
  'the namespace': `import * as uWS from 'uWebSockets.js';\n${TYPES}${CHECKS}`,
};
const DEFAULT = {
  'the default import': `import uWS from 'uWebSockets.js';\n${TYPES}${CHECKS}
// @ts-expect-error The default export is the module itself.
uWS.default;`,
};
const REQUIRED = {
  require: `import uWS = require('uWebSockets.js');\n${TYPES}${CHECKS}`,
};
/** CommonJS that is written as a module is given the exports by \`esModuleInterop\`. */
const INTEROP = {
  'the default import, by interop': `import uWS from 'uWebSockets.js';\n${TYPES}${CHECKS}`,
};

const RESOLUTIONS = [
  ['node16, an ES module', { module: 'node16' }, 'mts', { ...MODULE, ...DEFAULT }],
  ['node16, CommonJS', { module: 'node16' }, 'cts', { ...MODULE, ...REQUIRED, ...INTEROP }],
  ['nodenext, an ES module', { module: 'nodenext' }, 'mts', { ...MODULE, ...DEFAULT }],
  ['nodenext, CommonJS', { module: 'nodenext' }, 'cts', { ...MODULE, ...REQUIRED, ...INTEROP }],
  ['bundler', { module: 'esnext', moduleResolution: 'bundler' }, 'ts', { ...MODULE, ...DEFAULT }],
  [
    'bundler, preserved',
    { module: 'preserve', moduleResolution: 'bundler' },
    'mts',
    { ...MODULE, ...DEFAULT },
  ],
  [
    'node10',
    { module: 'commonjs', moduleResolution: 'node10' },
    'ts',
    { ...MODULE, ...REQUIRED, ...INTEROP },
  ],
];

/** The declarations of the language are parsed once. */
const parsed = new Map();
function host(options) {
  const made = ts.createCompilerHost(options);
  const { getSourceFile } = made;
  made.getSourceFile = (file, settings, ...rest) => {
    const key = `${file} ${settings.impliedNodeFormat}`;
    if (!path.basename(file).startsWith('lib.')) return getSourceFile(file, settings, ...rest);
    if (!parsed.has(key)) parsed.set(key, getSourceFile(file, settings, ...rest));
    return parsed.get(key);
  };
  return made;
}

/** Compiles the programs and returns the errors. */
function complaints(files, settings) {
  const { options, errors } = ts.convertCompilerOptionsFromJson(
    { esModuleInterop: true, lib: ['es2022', 'dom'], noEmit: true, strict: true, types: [], ...settings },
    folder,
  );
  assert.deepEqual(errors, []);
  const program = ts.createProgram(files, { skipDefaultLibCheck: true, ...options }, host(options));
  return ts.getPreEmitDiagnostics(program).map(({ messageText, file, start }) => {
    const line = file?.getLineAndCharacterOfPosition(start).line;
    return `${file?.fileName}:${line + 1}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`;
  });
}

for (const [name, options, extension, programs] of RESOLUTIONS) {
  test(name, () => {
    const files = Object.entries(programs).map(([form, source]) => {
      const file = path.join(folder, `${form}.${extension}`);
      fs.writeFileSync(file, source);
      return file;
    });
    assert.deepEqual(complaints(files, options), []);
  });
}
