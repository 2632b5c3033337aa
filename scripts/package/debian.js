'use strict';

// Packages of Debian, unpacked into a folder of ours: other versions and other processors than those of this
// machine. APT works there with lists of its own, so nothing is installed, and it takes no rights.

const fs = require('node:fs');
const path = require('node:path');
const { execFileSync } = require('node:child_process');
const { has } = require('../run.js');

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';
const SUITES = [
  ['debian', 'bullseye'],
  ['debian', 'bookworm'],
  ['debian-security', 'bookworm-security'],
  ['debian', 'trixie'],
];
const UPDATED = 'updated';

/** Why packages of Debian cannot be had here; undefined where they can. */
function unavailable() {
  if (!has('apt-get') || !has('dpkg-deb'))
    return 'it takes apt-get and dpkg-deb, which Debian and Ubuntu have';
  if (!fs.existsSync(KEYRING))
    return `it takes the keys of Debian, ${KEYRING} (package debian-archive-keyring)`;
  return undefined;
}

/** A folder for the packages of Debian that are fetched by one list of them, which is fetched once. */
class Debian {
  #root;
  #config;

  constructor(root) {
    this.#root = root;
    this.#config = path.join(root, 'apt.conf');
  }

  /**
   * Unpacks packages (`name/suite`, `name:arm64/suite`) into a folder, which it returns. A folder that exists
   * already is taken as it is.
   */
  unpack(name, packages) {
    const folder = path.join(this.#root, name);
    if (fs.existsSync(folder)) return folder;
    this.#update();
    const fetched = fs.mkdtempSync(path.join(this.#root, 'fetched-'));
    const fresh = `${folder}.new`;
    fs.rmSync(fresh, { recursive: true, force: true });
    fs.mkdirSync(fresh, { recursive: true });
    console.log(`Fetching ${packages.join(', ')} from Debian`);
    this.#apt(['download', '--quiet', ...packages], fetched);
    for (const file of fs.readdirSync(fetched))
      execFileSync('dpkg-deb', ['--extract', path.join(fetched, file), fresh]);
    fs.rmSync(fetched, { recursive: true });
    fs.renameSync(fresh, folder);
    return folder;
  }

  #update() {
    if (fs.existsSync(path.join(this.#root, UPDATED))) return;
    for (const folder of ['lists/partial', 'cache/archives/partial'])
      fs.mkdirSync(path.join(this.#root, folder), { recursive: true });
    const sources = SUITES.map(
      ([archive, suite]) => `deb [signed-by=${KEYRING}] http://deb.debian.org/${archive} ${suite} main\n`,
    );
    fs.writeFileSync(path.join(this.#root, 'sources.list'), sources.join(''));
    fs.writeFileSync(path.join(this.#root, 'status'), '');
    fs.writeFileSync(this.#config, configuration(this.#root));
    console.log('Fetching the lists of packages of Debian');
    this.#apt(['update', '--quiet'], this.#root);
    fs.writeFileSync(path.join(this.#root, UPDATED), '');
  }

  #apt(args, cwd) {
    execFileSync('apt-get', args, {
      cwd,
      env: { ...process.env, APT_CONFIG: this.#config },
      stdio: ['ignore', 'ignore', 'inherit'],
      timeout: 600000,
    });
  }
}

function configuration(root) {
  return `
Dir::State "${root}";
Dir::State::status "${root}/status";
Dir::Cache "${root}/cache";
Dir::Etc::sourcelist "${root}/sources.list";
Dir::Etc::sourceparts "/dev/null";
APT::Architecture "amd64";
APT::Architectures { "amd64"; "arm64"; };
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
`;
}

module.exports = { Debian, unavailable };
