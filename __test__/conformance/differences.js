'use strict'
// Where this project differs from uWebSockets.js on purpose. The README's table comes from this list, the specs look ids up in it
// through `differs`, and differences.spec.js fails when an id is used but not listed, or listed but not used.

const differences = []
const add = (id, section, original, ours) => differences.push({ id, section, original, ours })

add('listen-default-constant', '§1', '`LIBUS_LISTEN_DEFAULT` is in the types but not in the module', '`LIBUS_LISTEN_DEFAULT` is 0')
add('esm-all-names', '§1', 'the ESM wrapper re-exports some of the names', 'it re-exports all of them')
add('over-100-segments', '§2.1', 'a path of exactly 100 segments matches a pattern of 101', 'a pattern of more than 100 segments never matches')
add('listen-text-port', '§2.2', '`listen("3000", cb)` takes the text for a host and gives `false`', 'the text is taken for the port')
add('case-sensitive-method', '§3', '`getCaseSensitiveMethod()` is lower-cased once `getMethod()` was called', 'it stays as sent')
add('latin1-headers', '§3', 'PROBE', 'header values are latin1 text')

module.exports = differences
