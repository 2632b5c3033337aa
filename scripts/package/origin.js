'use strict';

// The parts of a manifest that say where the sources are. A clone knows it from its remote `origin`, so that
// the packages name the repository that they were made from, also those of a fork.

const { git } = require('./git.js');

/**
 * `https://host/owner/name`, `ssh://git@host/owner/name`, `git@host:owner/name`, each also with `.git`. A
 * path with other characters may be a whole URL behind that of a mirror, with a password in it.
 */
const PATH = /(?<name>[\w.~+-]+(?:\/[\w.~+-]+)*)\/*$/.source;
const FORMS = [
  new RegExp(`^(?<scheme>https?|ssh|git)://(?:[^@/]*@)?(?<host>[^@/:]+)(?::(?<port>\\d+))?/${PATH}`, 'i'),
  new RegExp(`^(?:[^@/:]+@)?(?<host>[^@/:]+):${PATH}`),
];

/** The ports that a web address leaves out. */
const USUAL = ['80', '443'];

/**
 * The address on the web of the repository that Git knows under this URL, without what it has of a user and
 * a password. Undefined where no other machine could find it: a folder, a host without a domain.
 */
function addressOf(url) {
  const { scheme = '', host, port, name } = FORMS.map((form) => form.exec(url)?.groups).find(Boolean) ?? {};
  const path = name?.replace(/\.git$/, '');
  if (!path || path.split('/').some((part) => /^(\.*|~)$/.test(part))) return undefined;
  if (!/\.[a-z][a-z0-9-]*$/i.test(host)) return undefined;
  const address = `${host.toLowerCase()}/${path}`;
  // The port of another protocol is none of the web.
  const isOfWeb = /^http/i.test(scheme) && port !== undefined && !USUAL.includes(port);
  return isOfWeb ? `${scheme.toLowerCase()}://${address.replace('/', `:${port}/`)}` : `https://${address}`;
}

/** `repository`, `homepage` and `bugs` of the repository with this URL; nothing if there is none. */
function whereabouts(url) {
  const address = addressOf(url ?? '');
  if (address === undefined) return {};
  return {
    repository: { type: 'git', url: `git+${address}.git` },
    homepage: `${address}#readme`,
    bugs: { url: `${address}/issues` },
  };
}

/**
 * The URL of `origin`, if the folder is a repository of its own and not a part of another one. `insteadOf`,
 * which may lead to a mirror, counts only where the URL is a shorthand.
 */
function originOf(root) {
  const said = (...args) => {
    const { status, stdout } = git(root, args);
    return status === 0 ? stdout.trim().split('\n')[0] : undefined;
  };
  if (said('rev-parse', '--show-prefix') !== '') return undefined;
  const given = said('config', '--get-all', 'remote.origin.url');
  return addressOf(given ?? '') === undefined ? said('remote', 'get-url', 'origin') : given;
}

module.exports = { originOf, whereabouts };
