'use strict';
// The pages show the programs that the other specs run, and nothing else; those in TypeScript have no error
// for a user's compiler.

const fs = require('node:fs');
const path = require('node:path');
const { execFileSync } = require('node:child_process');
const { block, names, offences, shown } = require('../../scripts/programs.js');
const { FROM, assert, emptyFolder, it } = require('./support');

const ROOT = path.join(__dirname, '../..');
const isProgram = (name) => /\.m[jt]s$/.test(name);

it('every program is on a page, and each page shows it as it is', () => {
  assert.deepEqual(offences(), []);
  const on = new Map(shown().map(({ name, page }) => [name, fs.readFileSync(path.join(ROOT, page), 'utf8')]));
  for (const name of names()) assert.ok(on.get(name).includes(block(name)), name);
});

it('the guide has no other block of JavaScript, which nobody would test', () => {
  const guide = fs.readFileSync(path.join(ROOT, 'docs/guide.md'), 'utf8');
  const blocks = [...guide.matchAll(/^```(?:js|ts|javascript|typescript)\n/gm)].length;
  assert.equal(
    blocks,
    shown().filter(({ name, page }) => page === 'docs/guide.md' && isProgram(name)).length,
  );
});

it('programs are short, and each has a spec', () => {
  const folder = fs.readdirSync(__dirname).filter((name) => name.endsWith('.spec.js'));
  const specs = folder.map((name) => fs.readFileSync(path.join(__dirname, name), 'utf8')).join('\n');
  for (const name of names()) {
    const lines = fs.readFileSync(path.join(FROM, name), 'utf8').split('\n').filter(Boolean).length;
    assert.ok(lines <= 60, `${name} has ${lines} lines`);
    assert.ok(specs.includes(`'${name}'`), `no spec runs ${name}`);
  }
});

it('links lead somewhere', () => {
  for (const page of ['README.md', 'docs/guide.md', 'docs/migration.md']) {
    const text = fs.readFileSync(path.join(ROOT, page), 'utf8').replaceAll(/^```.*?^```/gms, '');
    for (const [, target] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https?:/.test(target)) continue;
      const [file, anchor] = target.split('#');
      const to = file === '' ? page : path.join(path.dirname(page), file);
      assert.ok(fs.existsSync(path.join(ROOT, to)), `${page}: ${target}`);
      if (anchor) assert.ok(anchors(to).includes(anchor), `${page}: ${target}`);
    }
  }
});

/** The anchors that GitHub gives to the headings of a page. */
function anchors(page) {
  const headings = fs.readFileSync(path.join(ROOT, page), 'utf8').matchAll(/^#+ (.+)$/gm);
  const slug = (heading) => heading.toLowerCase().replaceAll(/[^\p{L}\p{N} _-]/gu, '');
  return [...headings].map(([, heading]) => slug(heading).replaceAll(' ', '-'));
}

it('the types of the programs hold, as a user compiles them', { timeout: 60000 }, (t) => {
  const folder = emptyFolder(t);
  const programs = names().filter((name) => name.endsWith('.mts'));
  assert.ok(programs.length > 0);
  for (const name of programs) fs.copyFileSync(path.join(FROM, name), path.join(folder, name));
  const compiler = path.join(ROOT, 'node_modules/typescript/bin/tsc');
  const types = ['--types', 'node', '--typeRoots', path.join(ROOT, 'node_modules/@types')];
  const options = ['--noEmit', '--strict', '--target', 'es2022', '--module', 'nodenext', ...types];
  const check = (...files) => {
    try {
      return execFileSync(process.execPath, [compiler, ...options, ...files], {
        cwd: folder,
        encoding: 'utf8',
      });
    } catch (error) {
      return error.stdout;
    }
  };
  assert.equal(check(...programs), '');
  // And the check is one: a mistake is found.
  fs.writeFileSync(path.join(folder, 'bad.mts'), `import uWS from 'uWebSockets.js';\nuWS.App().gett('/');\n`);
  assert.match(check('bad.mts'), /'gett' does not exist/);
});
