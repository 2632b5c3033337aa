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
add('header-edge-bytes', '§3', 'bytes above 127 at the edges of a header value are taken for white space', 'only white space is trimmed')
add('product-header', '§4.1', 'every response carries `uWebSockets: 20`', 'no product header')
add('double-content-length', '§4.1', 'a `content-length` written by the program is sent beside the automatic one', 'exactly one is sent')
add('contradicting-content-length', '§4.1', 'a `content-length` that contradicts the body is sent beside the true one', 'an error is thrown')
add('response-splitting', '§4.1', 'CR, LF and NUL in a status, header name or value are passed through', 'an error is thrown and nothing of it is sent')
add('head-body', '§4.2', '`end(body)` sends the body for HEAD too', 'the head with its length, no body')
add('http-1.0', '§4.10', 'HTTP/1.0 is answered with 505 (20.30: not at all)', 'HTTP/1.0 is served and closed after the response')
add('late-connection-close', '§4.2', '`end(body, true)` after `write` puts `Connection: close` into the middle of the body', 'the connection closes after the body, which stays whole')
add('chunk-after-call', '§4.4', 'a chunk of `onData` is detached after the call', 'it stays readable')
add('late-body-handler', '§4.4', 'body bytes that come before `onData` is attached are lost, and the handler is never called', 'they are held until a handler is attached')
add('forgotten-response', '§4.3', 'a handler that returns without having responded and without `onAborted` aborts the process', 'logged once with method and URL, answered with 500')
add('throwing-handler', '§4.3', 'when a handler throws, the response is never sent, or the process aborts even if `uncaughtException` is handled', 'reported through `uncaughtException`, answered with 500')
add('pipelining-pending', '§4.7', 'a request that arrives while the response to an earlier one is pending closes the connection', 'it waits until the earlier one has its response')
add('close-before-more', '§4.2', 'after a request with `Connection: close` a pipelined one is still answered, and the connection stays', 'the connection closes after the first response')
add('leading-empty-line', '§4.10', 'a request behind an empty line is left to the timeout', 'an empty line before a request is ignored, as RFC 9112 §2.2 asks')
add('incomplete-request-line', '§4.10', 'a request line without version is left to the timeout', '400')
add('bad-request-line', '§4.10', 'a request line that does not parse gets 505', '400; 505 only for another version of HTTP')
add('http-1.2', '§4.10', 'HTTP/1.2 gets 505', '505, or served as 1.1')
add('bad-method', '§4.10', 'a method that is no token is passed on', '400')
add('target-forms', '§4.10', 'absolute, authority and asterisk form get 505', 'served, or 400')
add('bare-line-feed', '§4.10', 'a bare line feed gets 505 or 400', '400, or taken for a line end')
add('bare-cr', '§4.10', 'a bare CR in a header is left to the timeout', '400')
add('empty-header-name', '§4.10', 'an empty header name is accepted', '400')
add('lenient-framing', '§4.10', 'doubtful framing is accepted or left to the timeout: differing or empty `Content-Length`, other transfer codings, chunks that are not as long as they say', '400')
add('chunk-extension', '§4.10', 'a chunk extension stalls the body', 'extensions are skipped')
add('trailer-field', '§4.10', 'a trailer field is taken for the next request and refused', 'skipped, or 400')
add('good-before-bad', '§4.10', 'the response to a good request is lost when a bad one follows in the same segment', 'it is sent before the refusal')
add('timeout-granularity', '§4.8', 'timeouts have a granularity of 4 s', '1 s or better')
add('early-frames', '§4.6', 'bytes that come while an upgrade is pending close the connection', 'frames are delivered after open')
add('upgrade-undefined', '§4.6', '`upgrade(undefined, …)` aborts the process', 'empty user data')

module.exports = differences
