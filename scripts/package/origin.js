'use strict';

// The parts of a manifest that say where the sources are. A clone knows it from its remote `origin`, so that
// the packages name the repository that they were made from, also those of a fork.

const { git } = require('./git.js');

/**
 * `https://host/owner/name`, `ssh://git@host/owner/name`, `git@host:owner/name`, each also with `.git`. A
 * path with `@` or `:` in it may be a whole URL behind that of a mirror, with a password in it.
 */
const FORMS = [
  /^(?:https?|ssh|git):\/\/(?:[^@/]*@)?(?<host>[^@/:]+)(?::\d+)?\/(?<name>[^?#@:\s]+)$/,
  /^(?:[^@/:]+@)(?<host>[^@/:]+):(?!\/)(?<name>[^?#@:\s]+)$/,
];

/**
 * The address on the web of the repository that Git knows under this URL, without what it has of a user and
 * a password. Undefined where no other machine could find it: a folder, a host without a domain.
 */
function addressOf(url) {
  const { host, name } = FORMS.map((form) => form.exec(url)?.groups).find(Boolean) ?? {};
  const path = name?.replace(/\/+$/, '').replace(/\.git$/, '');
  if (!path || !/\.[a-z][a-z0-9-]*$/i.test(host)) return undefined;
  return `https://${host.toLowerCase()}/${path}`;
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

/** The URL of `origin`, if the folder is a repository of its own and not a part of another one. */
function originOf(root) {
  const within = git(root, ['rev-parse', '--show-prefix']);
  const origin = git(root, ['remote', 'get-url', 'origin']);
  const isOwn = within.status === 0 && within.stdout.trim() === '';
  return isOwn && origin.status === 0 ? origin.stdout.trim() : undefined;
}

module.exports = { originOf, whereabouts };
