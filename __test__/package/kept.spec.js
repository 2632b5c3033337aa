'use strict';
// Folders that runs of tests share among the temporary files.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { spawn, spawnSync } = require('node:child_process');
const { it } = require('node:test');

/** A folder of temporary files of its own, for the processes of a test. */
function temporary(t) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'uws-kept-'));
  t.after(() => fs.rmSync(folder, { recursive: true }));
  return folder;
}

it('a folder is ours alone, or is an error', (t) => {
  const folder = temporary(t);
  const program = `console.log(require(${JSON.stringify(require.resolve('../kept'))}).keptFolder('some'))`;
  const run = () => {
    const env = { ...process.env, TMPDIR: folder };
    return spawnSync(process.execPath, ['-e', program], { encoding: 'utf8', env });
  };
  const first = run();
  assert.equal(first.status, 0, first.stderr);
  const kept = first.stdout.trim();
  assert.equal(path.dirname(kept), folder);
  assert.equal(fs.statSync(kept).mode & 0o777, 0o700);
  assert.deepEqual([run().status, run().stdout], [0, first.stdout]);
  const errs = (why) => {
    const { status, stderr } = run();
    assert.equal(status, 1, why);
    assert.match(stderr, /some-\d+ is not ours alone/, why);
  };
  fs.chmodSync(kept, 0o777);
  errs('anybody may write there');
  fs.rmdirSync(kept);
  fs.mkdirSync(path.join(folder, 'elsewhere'));
  fs.symlinkSync('elsewhere', kept);
  errs('a link');
  if (process.getuid() !== 0) return;
  fs.rmSync(kept);
  fs.mkdirSync(kept, { mode: 0o755 });
  fs.chownSync(kept, 65534, 65534);
  errs('of somebody else');
});

it('processes that begin at the same time share a certificate, which stays as it is', async (t) => {
  const folder = temporary(t);
  const env = { ...process.env, TMPDIR: folder };
  const program = `
    const fs = require('node:fs');
    const { key_file_name, cert_file_name } = require(${JSON.stringify(require.resolve('../tls/certificates'))}).shared();
    const read = () => fs.readFileSync(key_file_name, 'latin1') + fs.readFileSync(cert_file_name, 'latin1');
    const first = read();
    for (const end = Date.now() + 1000; Date.now() < end;)
      if (read() !== first) throw new Error('it was replaced');
    console.log(first);`;
  const runs = Array.from({ length: 5 }, () => {
    const child = spawn(process.execPath, ['-e', program], { env, stdio: ['ignore', 'pipe', 'inherit'] });
    let said = '';
    child.stdout.on('data', (data) => (said += data));
    return new Promise((resolve) => child.on('close', (code) => resolve(code === 0 ? said : code)));
  });
  const [first, ...others] = await Promise.all(runs);
  assert.match(first, /BEGIN PRIVATE KEY[^]*BEGIN CERTIFICATE/);
  for (const other of others) assert.equal(other, first);
  assert.equal(fs.readdirSync(folder).length, 1, 'and leave nothing else');
});
