'use strict';
// The differences between this project and uWebSockets.js that are intended. The tables of
// docs/differences.md are made from this list, the specs look ids up in it through `differs`, and
// differences.spec.js fails when an id is used but not listed, or listed but not used.

const differences = [];
const add = (id, section, original, ours) => differences.push({ id, section, original, ours });

add(
  'listen-default-constant',
  '§1',
  '`LIBUS_LISTEN_DEFAULT` is in the types but not in the module',
  '`LIBUS_LISTEN_DEFAULT` is 0',
);
add('esm-all-names', '§1', 'the ESM wrapper re-exports some of the names', 'it re-exports all of them');
add(
  'over-100-segments',
  '§2.1',
  'a path of exactly 100 segments matches a pattern of 101',
  'a pattern of more than 100 segments never matches',
);
add(
  'listen-text-port',
  '§2.2',
  '`listen("3000", cb)` takes the text for a host and gives `false`',
  'the text is taken for the port',
);
add(
  'case-sensitive-method',
  '§3',
  '`getCaseSensitiveMethod()` is lower-cased once `getMethod()` was called',
  'it stays as sent',
);
add(
  'header-edge-bytes',
  '§3',
  'bytes above 127 at the edges of a header value are taken for white space',
  'only white space is trimmed',
);
add('product-header', '§4.1', 'every response carries `uWebSockets: 20`', 'no product header');
add(
  'double-content-length',
  '§4.1',
  'a `content-length` written by the program is sent beside the automatic one',
  'exactly one is sent',
);
add(
  'contradicting-content-length',
  '§4.1',
  'a `content-length` that contradicts the body is sent beside the true one',
  'an error is thrown',
);
add(
  'response-splitting',
  '§4.1',
  'CR, LF, NUL and other control characters in a status, header name or value are passed through',
  'an error is thrown and nothing of it is sent',
);
add('head-body', '§4.2', '`end(body)` sends the body for HEAD too', 'the head with its length, no body');
add(
  'status-without-body',
  '§4.3',
  'a body and its framing are sent with 204 and 304 too, where the client takes them for the next response',
  'they are left out, and so is the length with 204',
);
add(
  'interim-status',
  '§4.1',
  'a response whose status is 1xx is sent, and the client waits for the final one',
  'an error is thrown; 101 is for `upgrade`',
);
add(
  'http-1.0',
  '§4.10',
  'HTTP/1.0 is answered with 505 (20.30: not at all)',
  'HTTP/1.0 is served and closed after the response',
);
add(
  'written-connection',
  '§4.1',
  'a `Connection` header written by the program changes nothing, whatever it says',
  'it is sent as written, in one line, and `close` closes; where the connection is closed for another reason, which the client did not ask for, it says so',
);
add(
  'late-connection-close',
  '§4.2',
  '`end(body, true)` after `write` puts `Connection: close` into the middle of the body',
  'the connection closes after the body, which stays whole',
);
add(
  'late-header',
  '§4.1',
  'a header written after `write` or `tryEnd` gets into the body',
  'an error is thrown, and the body stays whole',
);
add(
  'write-offset',
  '§4.3',
  '`getWriteOffset()`, and what `onWritable` is given, do not count the bytes of `write`',
  'they do, so that a program may go on from there as with `tryEnd`',
);
add(
  'late-body-handler',
  '§4.4',
  'body bytes that come before `onData` is attached are lost, and the handler is never called',
  'they are held until a handler is attached',
);
add(
  'forgotten-response',
  '§4.3',
  'a handler that returns without having responded and without `onAborted` aborts the process',
  'logged once with method and URL, answered with 500',
);
add(
  'throwing-handler',
  '§4.3',
  'when a handler throws, nobody responds unless something that it has scheduled does, or the process aborts even if `uncaughtException` is handled',
  'reported through `uncaughtException`, answered with 500',
);
add(
  'pipelining-pending',
  '§4.7',
  'a request that arrives while the response to an earlier one is pending closes the connection',
  'it waits until the earlier one has its response',
);
add(
  'close-before-more',
  '§4.2',
  'after a request with `Connection: close` a pipelined one is still answered, and the connection stays',
  'the connection closes after the first response',
);
add(
  'leading-empty-line',
  '§4.10',
  'a request behind an empty line is left to the timeout',
  'an empty line before a request is ignored, as RFC 9112 §2.2 asks',
);
add(
  'incomplete-request-line',
  '§4.10',
  'a request line without version is left to the timeout',
  'answered 400',
);
add(
  'bad-request-line',
  '§4.10',
  'a request line that does not parse gets 505',
  '400; 505 only for another version of HTTP',
);
add('http-1.2', '§4.10', 'HTTP/1.2 gets 505', '505, or served as 1.1');
add('bad-method', '§4.10', 'a method that is no token is passed on', '400');
add('target-forms', '§4.10', 'absolute, authority and asterisk form get 505', 'served, or 400');
add(
  'connect',
  '§4.10',
  'the connection of a CONNECT takes further requests, which a proxy may take for the bytes of a tunnel',
  'it is closed after the response (RFC 9110 §9.3.6)',
);
add('bare-line-feed', '§4.10', 'a bare line feed gets 505 or 400', '400, or taken for a line end');
add('bare-cr', '§4.10', 'a bare CR in a header is left to the timeout', '400');
add('empty-header-name', '§4.10', 'an empty header name is accepted', '400');
add(
  'odd-host',
  '§4.10',
  'a `Host` with spaces, a path, a user or bytes above 127 is served',
  '400 (RFC 9112 §3.2)',
);
add(
  'empty-host',
  '§4.10',
  'an empty `Host` is served (up to 20.57)',
  '400, as in newer releases; HTTP/1.0 needs none',
);
add(
  'inexact-length',
  '§4.10',
  'a `Content-Length` of up to 18 digits is waited for',
  '400 above 2^53, beyond which numbers of JavaScript are not exact',
);
add(
  'late-refusal',
  '§4.10',
  'a `Content-Length` or `Transfer-Encoding` that is refused is looked at behind the handler, which hears of an abort',
  'it is refused before any handler',
);
add(
  'refusal-status',
  '§4.10',
  'another version of HTTP gets 505 and a head beyond the limits 431; both get 400 in newer releases',
  '505 and 431',
);
add(
  'proxied-port',
  '§4.10',
  '`getProxiedRemotePort()` (from 20.61 on) has the bytes of the port in the wrong order: 34835 for 5000',
  'the port',
);
add(
  'socket-address',
  '§5',
  '`ws.getRemoteAddress()` is empty in 20.61 and from 20.66 on',
  'it is the address',
);
add(
  'begin-write',
  '§4.4',
  'after `beginWrite` (from 20.69 on) the body is framed wrongly, up to 20.71',
  'each `write` is one whole chunk',
);
add(
  'second-proxy-header',
  '§4.10',
  'of several PROXY headers the last counts (up to 20.57)',
  'the first, as in newer releases',
);
add(
  'two-proxy-headers',
  '§4.10',
  'one PROXY header precedes a request, and a second one is left to the timeout',
  'any number may, within the time of the head',
);
add(
  'local-proxy-header',
  '§4.10',
  'the addresses of a PROXY header with the command LOCAL count',
  'they do not, as its specification has it',
);
add('del-in-header', '§4.10', 'DEL in a header value is accepted', '400, like other control characters');
add(
  'lenient-framing',
  '§4.10',
  'doubtful framing is accepted or left to the timeout: differing or empty `Content-Length`, other transfer codings, chunks that are not as long as they say',
  '400',
);
add('chunk-extension', '§4.10', 'a chunk extension stalls the body', 'extensions are skipped');
add('trailer-field', '§4.10', 'a trailer field is taken for the next request and refused', 'skipped, or 400');
add(
  'good-before-bad',
  '§4.10',
  'the response to a good request is lost when a bad one follows in the same segment',
  'it is sent before the refusal',
);
add('timeout-granularity', '§4.8', 'timeouts have a granularity of 4 s', '1 s or better');
add(
  'early-frames',
  '§4.6',
  'bytes that come while an upgrade is pending close the connection (20.30: are lost)',
  'frames are delivered after open',
);
add('upgrade-undefined', '§4.6', '`upgrade(undefined, …)` aborts the process', 'empty user data');
add(
  'symbol-user-data',
  '§6',
  'properties of the user data whose keys are symbols are lost (up to 20.57)',
  'they are kept, as in newer releases',
);
add(
  'throwing-user-data',
  '§4.6',
  'a getter of the user data that throws leaves a connection without a working object, or ends the process',
  '`upgrade` throws its error and answers 500',
);
add(
  'handshake-segment',
  '§4.6',
  'frames in the same segment as the handshake are lost',
  'they are delivered after open',
);
add(
  'upgrade-arguments',
  '§4.6',
  '`upgrade` with less than five arguments does nothing',
  'an error is thrown',
);
add(
  'close-frame-on-violation',
  '§5',
  'a violation of the protocol drops the connection without a close frame',
  'the close frame RFC 6455 asks for (1002, 1007, 1009) is sent first; the handler sees the same',
);
add('unmasked-frame', '§5', 'an unmasked frame is read as if it were masked', 'refused with 1002');
add(
  'registered-close-codes',
  '§5',
  'close codes 1012, 1013, 1014 and 3000 count as malformed',
  'they are passed on',
);
add(
  'bad-close-answer',
  '§5',
  'a malformed close payload is answered with an empty close frame',
  'answered with 1002 or 1007',
);
add('one-byte-close', '§5', 'a close payload of one byte counts as none (1005)', 'as malformed (1006)');
add(
  'bad-timeout-options',
  '§5',
  'an `idleTimeout` of 1–7 or over 960 ends the process',
  'a RangeError is thrown',
);
add(
  'long-lifetime',
  '§5',
  'a `maxLifetime` over 240 or below 0 ends the process',
  'it counts as 240, or 0, as in newer releases',
);
add(
  'unlimited-sizes',
  '§5',
  '`maxPayloadLength` and `maxBackpressure` beyond 32 bits wrap around; an infinite `maxPayloadLength` is 0',
  'they are without limit',
);
add(
  'lone-surrogate',
  '§1',
  'a lone surrogate in a string becomes bytes that are no UTF-8',
  'it becomes U+FFFD',
);
add(
  'data-view',
  '§1',
  'a DataView is refused (up to 20.57)',
  'a DataView is data like any typed array, as in newer releases',
);
add(
  'bad-callbacks',
  '§1',
  '`onAborted`, `onData` and `onWritable` take anything and crash when it is to be called',
  '`Passed callback is not a valid function.` is thrown',
);
add(
  'app-null',
  '§2',
  '`App(null)` and `App(undefined)` abort the process (up to 20.57)',
  'the same as `App()`, as in newer releases',
);
add(
  'bad-options',
  '§2',
  'options that are no object are ignored (up to 20.57)',
  '`Options must be an object.` is thrown, as in newer releases',
);
add(
  'adopted-objects',
  '§2',
  '`adoptSocket` takes any number for a descriptor, and crashes or serves strangers where it is none of a connection',
  'a descriptor or a `net.Socket`; anything else is an error that leaves it alone',
);
add(
  'filter-upgraded',
  '§2.3',
  '`filter` is not told when an upgraded connection closes',
  '-1 for every connection that closes',
);
add(
  'bad-ws-handlers',
  '§5',
  'a `ws` handler that is no function crashes the process when its turn comes',
  '`null` counts as none, anything else throws `Passed callback is not a valid function.`',
);
add(
  'worker-exit',
  '§7',
  'a worker that ends with open sockets aborts the process',
  'its sockets are closed, the other threads go on',
);
add(
  'cork-warning',
  '§4.3',
  'writing outside of `cork` prints a warning',
  'no warning: the writes of one tick always go out together',
);
add(
  'reset-idle-timeout-on-send',
  '§5',
  '`resetIdleTimeoutOnSend` exists in the core only and is ignored',
  'honoured: messages of the server count against `idleTimeout`',
);
add(
  'write-in-drain',
  '§4.3',
  'what the kernel refuses while `drain` or `onWritable` runs, or in the microtasks after it, may never be sent',
  'it is sent like anything else',
);
add(
  'no-token',
  '§1',
  '`us_listen_socket_close` and `us_socket_local_port` crash on anything but a token',
  'no crash: -1, nothing, or an error',
);
add(
  'unix-other-file',
  '§2.2',
  '`listen_unix` removes whatever file is at its path',
  'only a socket nobody listens at is replaced; otherwise the callback gets `false`',
);
add('foreign-this', '§1', 'a method called on another object crashes the process', 'an error is thrown');
add(
  'domain-not-found',
  '§2.3',
  'under a server name with a router of its own a path it does not have closes the connection',
  'answered 404',
);
add(
  'domain-without-routes',
  '§2.3',
  'a server name without routes of its own closes the connection of every request',
  'the routes of the app serve it',
);
add(
  'compressed-fragments',
  '§5',
  'the `compress` flag of each fragment counts for itself, and what follows a compressed first fragment cannot be inflated',
  'the flag of the first fragment counts for the whole message, which any client can inflate',
);
add(
  'dropped-fragment',
  '§5',
  'each fragment of a message is sent or dropped by itself, also behind a dropped one',
  'with the first fragment the others are dropped; one that is dropped behind others ends the connection (1006)',
);
add(
  'strict-deflate',
  '§5',
  'a compressed message that is cut short, and RSV1 on a continuation or a control frame, are accepted',
  'the connection is closed',
);
add(
  'declared-body',
  '§4.9',
  'a `DeclarativeResponse` leaves the body of the request out',
  '`writeBody` puts it in, up to 16 MiB',
);
add(
  'declared-status',
  '§4.9',
  'a `DeclarativeResponse` has no status of its own (up to 20.57)',
  '`writeStatus`, as in newer releases',
);
add(
  'declared-data',
  '§4.9',
  'the values of a `DeclarativeResponse` are text alone (up to 20.57)',
  'text or data, as in newer releases',
);
add(
  'declared-lengths',
  '§4.9',
  'a text of a `DeclarativeResponse` that is too long for its length makes another program (up to 20.57)',
  'a RangeError is thrown, `Data length exceeds 255` or `65535`, as in newer releases',
);
add(
  'declared-malformed',
  '§4.9',
  'an ArrayBuffer that is no program of a `DeclarativeResponse` is executed all the same',
  'an error that says what is wrong with it',
);
add(
  'declared-while-blocked',
  '§4.9',
  'a `DeclarativeResponse` waits while JavaScript is busy',
  'it is served by the loop all the same',
);
add(
  'client-version-1',
  '§2',
  'a client certificate of X.509 version 1 is accepted',
  'it is refused, since it says nothing of its use; those of servers and authorities may be of version 1',
);
add(
  'cipher-choice',
  '§2',
  "the cipher is the client's first",
  'without `ssl_ciphers` AES-128-GCM goes before AES-256-GCM',
);
add(
  'alpn',
  '§2',
  'ALPN is ignored',
  '`http/1.1` is chosen, or `http/1.0` where that alone is offered; an offer with neither is refused',
);
add(
  'plain-http-on-tls',
  '§2',
  'plain HTTP on a TLS port is closed without a word',
  'answered 400 in clear text',
);
add('server-name-case', '§2.3', 'server names are told apart by case', 'they are not, as RFC 4343 has it');
add(
  'server-name-files',
  '§2.3',
  'an `addServerName` whose files cannot be used does nothing, silently',
  'it warns',
);
add(
  'ssl-app-cause',
  '§2',
  'an SSLApp with bad options throws `App construction failed`',
  'the cause follows, as in `App construction failed: key_file_name …`',
);
add(
  'pong-order',
  '§5',
  'a ping is answered behind what handlers sent for the messages before it',
  'the loop answers it at once, also while JavaScript is busy',
);

add(
  'cached-routes',
  '§2.1',
  '`app.get(pattern, handler, { lowerExpiry, upperExpiry })` aborts the process at its first request in 20.57; in 20.71 it is for App alone, keeps every URL for ever, gives all replies to everybody, and a handler that throws or never ends hangs its URL',
  'it is for SSLApp, too; stored replies are bounded; replies for one client (`Set-Cookie`, `private`, `Authorization` …) are neither stored nor shared; those who wait get 500, 502 or 504 where there is no answer',
);

module.exports = differences;
