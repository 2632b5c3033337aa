'use strict';
// Streams of bytes over which two servers could disagree about where a request ends, by the section of RFC
// 9112 (or 9110) that decides. Each case says what uws-rs makes of it, and why.
//
//   served([method, target, body]…)   these requests, then the next one may begin
//   closes([method, target, body]…)   these requests, and nothing behind them is one
//   refused(status, …)                these requests, then the status, and the connection ends
//   waits(behind)                     nothing as yet: the request has not ended
//
// `behind`, where there is one, is the outcome when MARKER, a request, is sent behind the case. Else it is
// taken for a request when the case ends `open`, and changes nothing when it does not.

const served = (...requests) => ({ end: 'open', requests });
const closes = (...requests) => ({ end: 'closed', requests });
const refused = (status = 400, ...before) => ({ end: 'refused', status, requests: before });
const waits = (behind) => ({ end: 'waits', requests: [], behind });

const GOT = ['GET', '/c', ''];
const posted = (body, target = '/c') => ['POST', target, body];
const HELLO = posted('hello');

const CASES = [];
let section;
const add = (id, bytes, want, why) => CASES.push({ id, section, bytes, want, why });

const lines = (...fields) => fields.map((field) => `${field}\r\n`).join('');
const head = (first, ...fields) => `${first}\r\n${lines('Host: h', ...fields)}\r\n`;
const get = (...fields) => head('GET /c HTTP/1.1', ...fields);
const post = (fields, body = '') => head('POST /c HTTP/1.1', ...[fields].flat()) + body;
const HIDDEN = 'GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n';
const CHUNKS = '5\r\nhello\r\n0\r\n\r\n';
const chunked = (body, ...fields) => post(['Transfer-Encoding: chunked', ...fields], body);

section = 'RFC 9112 §2.2'; // Message parsing: line ends and what stands before the request line
add('crlf-before', `\r\n${get()}`, served(GOT), 'an empty line before the request line is to be ignored');
add('crlf-before-twice', `\r\n\r\n${get()}`, served(GOT), 'and so are two');
add(
  'crlf-after-body',
  post('Content-Length: 5', 'hello\r\n'),
  served(HELLO),
  'old clients send one behind a body',
);
add('lf-before', `\n${get()}`, refused(), 'a bare LF is no empty line: a proxy may see a request line there');
add('cr-before', `\r${get()}`, refused(), 'a bare CR is nothing at all');
add('space-before', ` ${get()}`, refused(), 'white space is no part of a method');
add('bom-before', `\xef\xbb\xbf${get()}`, refused(), 'bytes are no text, and these no method');
add('nul-before', `\0${get()}`, refused(), 'NUL is no part of a method');
add('lf-everywhere', 'GET /c HTTP/1.1\nHost: h\n\n', refused(), 'some take LF for a line end, some do not');
add('lf-after-request-line', 'GET /c HTTP/1.1\nHost: h\r\n\r\n', refused(), 'as above');
add(
  'lf-after-field',
  'GET /c HTTP/1.1\r\nHost: h\nA: b\r\n\r\n',
  refused(),
  'as above: is A a field, or a part of the host?',
);
add('lf-at-end', 'GET /c HTTP/1.1\r\nHost: h\r\n\n', refused(), 'as above: where does the head end?');
add('lf-for-last-field', 'GET /c HTTP/1.1\r\nHost: h\n\r\n', refused(), 'as above');
add(
  'lf-hides-length',
  post('A: b\nContent-Length: 33', HIDDEN),
  refused(),
  'the length would be a field for one and text for the other',
);
add('lf-hides-coding', post('A: b\nTransfer-Encoding: chunked', CHUNKS), refused(), 'the same with a coding');
add('cr-in-field', get('A: b\rc'), refused(), 'a bare CR is a line end for some, a space for others');
add('cr-hides-length', post('A: b\rContent-Length: 33', HIDDEN), refused(), 'as above');
add('cr-hides-coding', post('A: b\rTransfer-Encoding: chunked', CHUNKS), refused(), 'as above');
add('cr-for-line-end', 'GET /c HTTP/1.1\rHost: h\r\r', refused(), 'a bare CR ends no line');
add('lfcr', 'GET /c HTTP/1.1\n\rHost: h\n\r\n\r', refused(), 'LF CR is no line end');
add('crcrlf', 'GET /c HTTP/1.1\r\nHost: h\r\r\n\r\n', refused(), 'CR CR LF is none either');
add('crcrlf-at-end', 'GET /c HTTP/1.1\r\nHost: h\r\n\r\r\n', refused(), 'nor the end of a head');
add(
  'space-before-first-field',
  'GET /c HTTP/1.1\r\n Host: h\r\n\r\n',
  refused(),
  'white space between request line and first field',
);
add(
  'space-line-before-field',
  'GET /c HTTP/1.1\r\n \r\nHost: h\r\n\r\n',
  refused(),
  'a line of white space is no empty line',
);
add(
  'hidden-behind-space-line',
  `GET /c HTTP/1.1\r\nHost: h\r\n \r\n${HIDDEN}`,
  refused(),
  'as above: it does not end the head',
);

section = 'RFC 9112 §2.3'; // HTTP version
add('version-1.0', 'GET /c HTTP/1.0\r\n\r\n', closes(GOT), 'HTTP/1.0 has no persistent connections');
add(
  'version-1.0-keep-alive',
  'GET /c HTTP/1.0\r\nConnection: keep-alive\r\n\r\n',
  served(GOT),
  'unless the client asks for one',
);
add(
  'version-1.0-length',
  'POST /c HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello',
  served(HELLO),
  'a length counts in HTTP/1.0 too',
);
add('version-1.2', head('GET /c HTTP/1.2'), refused(505), 'no version that exists');
add('version-2.0', head('GET /c HTTP/2.0'), refused(505), 'not spoken here');
add('version-0.9', 'GET /c\r\n\r\n', refused(), 'HTTP/0.9 has no heads, so anything could be one');
add('version-0.9-by-name', 'GET /c HTTP/0.9\r\n\r\n', refused(505), 'the same with its name');
add('version-lower-case', head('GET /c http/1.1'), refused(), 'HTTP is in capitals');
add('version-leading-zero', head('GET /c HTTP/01.1'), refused(505), 'one digit, a dot, one digit');
add('version-two-digits', head('GET /c HTTP/1.10'), refused(), 'as above');
add('version-no-minor', head('GET /c HTTP/1'), refused(505), 'as above');
add('version-other-protocol', head('GET /c ICY/1.1'), refused(), 'another protocol');
add('version-comma', head('GET /c HTTP/1,1'), refused(505), 'a dot and nothing else');
add('http2-preface', `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n`, refused(505), 'a client that takes this for HTTP/2');
add('tls-hello', '\x16\x03\x01\x00\x05hello', refused(), 'a client that takes this for TLS');

section = 'RFC 9112 §3'; // Request line
add('two-spaces', head('GET  /c HTTP/1.1'), refused(), 'an empty target to some');
add(
  'two-spaces-before-version',
  head('GET /c  HTTP/1.1'),
  refused(),
  'a target with a space at its end to some',
);
add(
  'space-after-version',
  head('GET /c HTTP/1.1 '),
  refused(),
  'a target that ends in HTTP/1.1, without version, to some',
);
add('space-in-target', head('GET /c d HTTP/1.1'), refused(), 'a request line has three parts');
add('version-in-target', head('GET /c HTTP/1.1 HTTP/1.1'), refused(), 'as above');
add('tab-for-space', head('GET\t/c\tHTTP/1.1'), refused(), 'only SP separates');
add('vertical-tab-for-space', head('GET\x0b/c HTTP/1.1'), refused(), 'as above');
add('form-feed-for-space', head('GET\x0c/c HTTP/1.1'), refused(), 'as above');
add('no-break-space', head('GET\xa0/c HTTP/1.1'), refused(), 'as above');
add('no-method', head('/c HTTP/1.1'), refused(), 'a request line has three parts');
add('method-alone', 'GET\r\nHost: h\r\n\r\n', refused(), 'as above');
add(
  'method-lower-case',
  head('get /c HTTP/1.1'),
  served(['get', '/c', '']),
  'methods are told apart by case, and any token is one',
);
add(
  'method-token',
  head("X-!#$%&'*+.^_`|~9 /c HTTP/1.1"),
  served(["X-!#$%&'*+.^_`|~9", '/c', '']),
  'any token is a method',
);
add('method-separator', head('G(T /c HTTP/1.1'), refused(), 'a separator is no part of a token');
add('method-obs-text', head('G\xcbT /c HTTP/1.1'), refused(), 'bytes above 127 are none either');
add('method-colon', head('Host: /c HTTP/1.1'), refused(), 'a field in place of the request line');
add(
  'method-long',
  head(`${'G'.repeat(300)} /c HTTP/1.1`),
  served(['G'.repeat(300), '/c', '']),
  'any length within the limit of a head',
);
add(
  'target-long',
  head(`GET /${'c'.repeat(3000)} HTTP/1.1`),
  served(['GET', `/${'c'.repeat(3000)}`, '']),
  'as above',
);
add('target-too-long', head(`GET /${'c'.repeat(5000)} HTTP/1.1`), refused(431), 'a head above the limit');
add('target-nul', head('GET /c\0d HTTP/1.1'), refused(), 'a control character');
add('target-cr', head('GET /c\rd HTTP/1.1'), refused(), 'a control character');
add('target-del', head('GET /c\x7f HTTP/1.1'), refused(), 'a control character');
add(
  'target-crlf-escaped',
  head('GET /c%0d%0aA:%20b HTTP/1.1'),
  served(['GET', '/c%0d%0aA:%20b', '']),
  'escapes are not decoded',
);

section = 'RFC 9112 §3.2'; // Request target and Host
add(
  'target-fragment',
  head('GET /c#d HTTP/1.1'),
  served(['GET', '/c#d', '']),
  'no fragment is sent; the target is passed on as it came',
);
add('target-no-slash', head('GET c HTTP/1.1'), refused(), 'none of the four forms');
add('target-empty-query', head('GET ? HTTP/1.1'), refused(), 'none of the four forms');
add('target-asterisk-get', head('GET * HTTP/1.1'), refused(), 'the asterisk is for OPTIONS');
add('target-asterisk', head('OPTIONS * HTTP/1.1'), served(['OPTIONS', '*', '']), 'the asterisk form');
add('target-absolute', head('GET http://h/c HTTP/1.1'), served(GOT), 'the absolute form must be accepted');
add(
  'target-absolute-other-host',
  head('GET http://other/c HTTP/1.1'),
  served(GOT),
  'its authority replaces the Host',
);
add(
  'target-absolute-user',
  head('GET http://u@h/c HTTP/1.1'),
  refused(),
  'a user is no part of an authority here',
);
add('target-absolute-no-host', head('GET http:///c HTTP/1.1'), refused(), 'an authority must not be empty');
add('target-absolute-scheme', head('GET ftp://h/c HTTP/1.1'), refused(), 'no proxy for other schemes');
add(
  'target-authority',
  head('CONNECT h:80 HTTP/1.1'),
  closes(['CONNECT', 'h:80', '']),
  'a client may take the bytes behind CONNECT for a tunnel, so they are no requests',
);
add('connect-with-path', head('CONNECT /c HTTP/1.1'), closes(['CONNECT', '/c', '']), 'as above');
add(
  'connect-hidden',
  head('CONNECT h:80 HTTP/1.1') + HIDDEN,
  closes(['CONNECT', 'h:80', '']),
  'as above: what was meant for the tunnel is not served',
);
add('target-authority-get', head('GET h:80 HTTP/1.1'), refused(), 'the authority form is for CONNECT');
add('no-host', 'GET /c HTTP/1.1\r\n\r\n', refused(), 'HTTP/1.1 has a Host');
add('host-twice', get('Host: h'), refused(), 'even the same one');
add('host-differs', get('Host: other'), refused(), 'a proxy may route by the other one');
add('host-empty', 'GET /c HTTP/1.1\r\nHost:\r\n\r\n', refused(), 'the target names no authority, either');
add('host-path', 'GET /c HTTP/1.1\r\nHost: h/d\r\n\r\n', refused(), 'no valid host');
add('host-list', 'GET /c HTTP/1.1\r\nHost: h, i\r\n\r\n', refused(), 'no valid host');
add('host-user', 'GET /c HTTP/1.1\r\nHost: u@h\r\n\r\n', refused(), 'no valid host');
add('host-space', 'GET /c HTTP/1.1\r\nHost: h i\r\n\r\n', refused(), 'no valid host');
add('host-twice-1.0', 'GET /c HTTP/1.0\r\nHost: h\r\nHost: h\r\n\r\n', refused(), 'as with HTTP/1.1');

section = 'RFC 9112 §5'; // Field syntax
add('space-before-colon', get('A : b'), refused(), 'some strip it, some take "A " for another name');
add('length-space-before-colon', post('Content-Length : 34', HIDDEN), refused(), 'as above');
add('coding-space-before-colon', post('Transfer-Encoding : chunked', CHUNKS), refused(), 'as above');
add('tab-before-colon', post('Transfer-Encoding\t: chunked', CHUNKS), refused(), 'as above');
add('empty-name', get(': b'), refused(), 'a name has a letter at least');
add('no-colon', get('A'), refused(), 'a field has a colon');
add('no-colon-length', post('Content-Length 5', 'hello'), refused(), 'as above');
add('name-nul', get('A\0: b'), refused(), 'NUL in a name');
add('name-control', get('A\x01: b'), refused(), 'a control character in a name');
add('name-obs-text', get('\xc4: b'), refused(), 'a byte above 127 in a name');
add(
  'name-vertical-tab',
  post('\x0bTransfer-Encoding: chunked', CHUNKS),
  refused(),
  'some strip it, some do not',
);
add('name-hidden-coding', post('Transfer-Encoding\x7f: chunked', CHUNKS), refused(), 'as above');
add('name-parenthesis', get('A(b): c'), refused(), 'a separator in a name');
add(
  'name-underscores',
  post(['Content_Length: 3', 'Content-Length: 5'], 'hello'),
  served(HELLO),
  'an underscore is a letter of names, and this another field',
);
add(
  'name-underscore-coding',
  post(['Transfer_Encoding: chunked', 'Content-Length: 5'], 'hello'),
  served(HELLO),
  'as above',
);
add('name-upper-case', post('CONTENT-LENGTH: 5', 'hello'), served(HELLO), 'names are not told apart by case');
add(
  'name-prefix',
  post(['X-Content-Length: 3', 'Content-Length-X: 3', 'Content-Length: 5'], 'hello'),
  served(HELLO),
  'other fields',
);
add('name-long', get(`${'a'.repeat(2000)}: b`), served(GOT), 'any length within the limit of a head');
add('value-nul', get('A: b\0c'), refused(), 'NUL in a value');
add('value-control', get('A: b\x01c'), refused(), 'a control character in a value');
add('value-obs-text', get('A: \xe4\xff'), served(GOT), 'bytes above 127 in a value are allowed');
add(
  'value-vertical-tab',
  post('Transfer-Encoding: \x0bchunked', CHUNKS),
  refused(),
  'no white space of HTTP',
);
add('value-empty', get('A:'), served(GOT), 'a value may be empty');
add(
  'value-tabs',
  post('Content-Length:\t 5\t ', 'hello'),
  served(HELLO),
  'white space around a value is no part of it',
);
add('value-colon', get('A: Content-Length: 33'), served(GOT), 'text, no field');
add('fields-too-many', get(...Array(150).fill('A: b')), refused(431), 'more than 100 fields');
add('fields-too-long', get(`A: ${'b'.repeat(5000)}`), refused(431), 'a head above the limit');

section = 'RFC 9112 §5.2'; // Obsolete line folding
add('fold', get('A: b', ' c'), refused(), 'some join the lines, some take the second for a field');
add('fold-tab', get('A: b', '\tc'), refused(), 'as above');
add('fold-length', post(['A: b', ' Content-Length: 33'], HIDDEN), refused(), 'as above');
add('fold-coding', post(['Transfer-Encoding:', ' chunked'], CHUNKS), refused(), 'as above');
add('fold-coding-tab', post(['Transfer-Encoding:', '\tchunked'], CHUNKS), refused(), 'as above');
add(
  'fold-hides-coding',
  post(['Content-Length: 5', 'A: b', '\tTransfer-Encoding: chunked'], 'hello'),
  refused(),
  'as above',
);
add('fold-empty', get('A: b', ' '), refused(), 'as above');

section = 'RFC 9112 §6.1'; // Transfer-Encoding
add('te-chunked', chunked(CHUNKS), served(HELLO), 'the only coding that is understood');
add(
  'te-upper-case',
  post('Transfer-Encoding: CHUNKED', CHUNKS),
  served(HELLO),
  'codings are not told apart by case',
);
add(
  'te-spaces',
  post('Transfer-Encoding: \t chunked \t', CHUNKS),
  served(HELLO),
  'white space around a value is no part of it',
);
add(
  'te-identity',
  post('Transfer-Encoding: identity', 'hello'),
  refused(),
  'removed from HTTP, but some still ignore it',
);
add(
  'te-identity-length',
  post(['Transfer-Encoding: identity', 'Content-Length: 5'], 'hello'),
  refused(),
  'as above',
);
add(
  'te-chunked-identity',
  post('Transfer-Encoding: chunked, identity', CHUNKS),
  refused(),
  'chunked must be the last',
);
add(
  'te-identity-chunked',
  post('Transfer-Encoding: identity, chunked', CHUNKS),
  refused(),
  'a coding that is not understood',
);
add('te-gzip-chunked', post('Transfer-Encoding: gzip, chunked', CHUNKS), refused(), 'as above');
add('te-gzip', post('Transfer-Encoding: gzip', CHUNKS), refused(), 'its end cannot be known');
add(
  'te-chunked-twice',
  post('Transfer-Encoding: chunked, chunked', CHUNKS),
  refused(),
  'must not be applied twice',
);
add(
  'te-fields-twice',
  post(['Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'], CHUNKS),
  refused(),
  'the same',
);
add(
  'te-fields-chunked-identity',
  post(['Transfer-Encoding: chunked', 'Transfer-Encoding: identity'], CHUNKS),
  refused(),
  'some read the first, some the last',
);
add(
  'te-fields-identity-chunked',
  post(['Transfer-Encoding: identity', 'Transfer-Encoding: chunked'], CHUNKS),
  refused(),
  'as above',
);
add(
  'te-fields-junk',
  post(['Transfer-Encoding: chunked', 'Transfer-Encoding: x'], CHUNKS),
  refused(),
  'as above',
);
add('te-junk-behind', post('Transfer-Encoding: chunkedx', CHUNKS), refused(), 'no prefix counts');
add('te-junk-before', post('Transfer-Encoding: xchunked', CHUNKS), refused(), 'no suffix counts');
add(
  'te-comma-before',
  post('Transfer-Encoding: ,chunked', CHUNKS),
  refused(),
  'an empty element; strictness is allowed and safer',
);
add('te-comma-behind', post('Transfer-Encoding: chunked,', CHUNKS), refused(), 'as above');
add('te-parameter', post('Transfer-Encoding: chunked;q=1', CHUNKS), refused(), 'chunked has no parameters');
add('te-quoted', post('Transfer-Encoding: "chunked"', CHUNKS), refused(), 'a coding is a token');
add('te-semicolon', post('Transfer-Encoding: chunked;', CHUNKS), refused(), 'as above');
add('te-empty', post('Transfer-Encoding:', CHUNKS), refused(), 'some take it for no field at all');
add('te-nul', post('Transfer-Encoding: chunked\0', CHUNKS), refused(), 'a control character');
add('te-no-break-space', post('Transfer-Encoding: chunked\xa0', CHUNKS), refused(), 'no white space of HTTP');
add('te-bare-cr', post('Transfer-Encoding: chunked\r', CHUNKS), refused(), 'a bare CR');
add(
  'te-version-1.0',
  'POST /c HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n' + CHUNKS,
  refused(),
  'the framing of such a message is faulty',
);
add(
  'te-version-1.0-keep-alive',
  'POST /c HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n' + CHUNKS,
  refused(),
  'as above',
);
add(
  'te-get',
  head('GET /c HTTP/1.1', 'Transfer-Encoding: chunked') + CHUNKS,
  served(['GET', '/c', 'hello']),
  'any method may have a body',
);

section = 'RFC 9112 §6.2'; // Content-Length
add('cl', post('Content-Length: 5', 'hello'), served(HELLO), 'the usual request');
add('cl-short', post('Content-Length: 1000', 'hello'), waits(), 'the body has not ended');
add('cl-zero', post('Content-Length: 0'), served(posted('')), 'no body');
add(
  'cl-zero-hidden',
  post('Content-Length: 0', HIDDEN),
  served(posted(''), ['GET', '/hidden', '']),
  'no body, then a request of its own',
);
add(
  'cl-leading-zeros',
  post('Content-Length: 0000005', 'hello'),
  served(HELLO),
  '1*DIGIT, and no octal numbers',
);
add(
  'cl-octal',
  post('Content-Length: 010', 'hellohello'),
  served(posted('hellohello')),
  'as above: ten, not eight',
);
add(
  'cl-many-zeros',
  post(`Content-Length: ${'0'.repeat(60)}5`, 'hello'),
  refused(),
  'more digits than some take, with or without a word',
);
add('cl-plus', post('Content-Length: +5', 'hello'), refused(), 'no signs');
add('cl-minus', post('Content-Length: -5', 'hello'), refused(), 'no signs');
add('cl-minus-zero', post('Content-Length: -0'), refused(), 'no signs');
add('cl-hex', post('Content-Length: 0x5', 'hello'), refused(), 'decimal digits');
add('cl-hex-digits', post('Content-Length: a', 'hellohello'), refused(), 'decimal digits');
add('cl-exponent', post('Content-Length: 5e0', 'hello'), refused(), 'decimal digits');
add('cl-fraction', post('Content-Length: 5.0', 'hello'), refused(), 'decimal digits');
add('cl-underscore', post('Content-Length: 1_0', 'hellohello'), refused(), 'decimal digits');
add('cl-separator', post('Content-Length: 1,000', 'hello'), refused(), 'a list of lengths that differ');
add('cl-space-inside', post('Content-Length: 5 5', 'hello'), refused(), 'two numbers');
add('cl-junk', post('Content-Length: 5x', 'hello'), refused(), 'digits alone');
add('cl-semicolon', post('Content-Length: 5;', 'hello'), refused(), 'digits alone');
add('cl-quoted', post('Content-Length: "5"', 'hello'), refused(), 'digits alone');
add('cl-arabic-digits', post('Content-Length: \xd9\xa5', 'hello'), refused(), 'digits of ASCII');
add('cl-empty', post('Content-Length:', HIDDEN), refused(), 'some take it for 0, some for no field at all');
add('cl-nul', post('Content-Length: 5\0', 'hello'), refused(), 'a control character');
add(
  'cl-2^32',
  post('Content-Length: 4294967301', 'hello'),
  waits(),
  'not five, as a number of 32 bits would have it',
);
add('cl-2^63', post('Content-Length: 9223372036854775813', 'hello'), refused(), 'not negative');
add(
  'cl-2^64',
  post('Content-Length: 18446744073709551621', 'hello'),
  refused(),
  'not five, as a number of 64 bits would have it',
);
add('cl-huge', post(`Content-Length: ${'9'.repeat(100)}`, 'hello'), refused(), 'no number of 64 bits');
add(
  'cl-2^53',
  post('Content-Length: 9007199254740997', 'hello'),
  refused(),
  'not another number, as floating point would have it',
);

section = 'RFC 9112 §6.3'; // Message body length
add(
  'cl-te',
  post(['Content-Length: 5', 'Transfer-Encoding: chunked'], CHUNKS),
  refused(),
  'a proxy may go by the one, its server by the other',
);
add(
  'te-cl',
  post(['Transfer-Encoding: chunked', 'Content-Length: 5'], CHUNKS),
  refused(),
  'as above, in whatever order',
);
add(
  'cl-te-hidden',
  post([`Content-Length: ${5 + HIDDEN.length}`, 'Transfer-Encoding: chunked'], `0\r\n\r\n${HIDDEN}`),
  refused(),
  'the classic attack by CL.TE',
);
add(
  'te-cl-hidden',
  post(['Content-Length: 4', 'Transfer-Encoding: chunked'], `21\r\n${HIDDEN}\r\n0\r\n\r\n`),
  refused(),
  'the classic attack by TE.CL',
);
add(
  'cl-zero-te',
  post(['Content-Length: 0', 'Transfer-Encoding: chunked'], CHUNKS),
  refused(),
  'a length of 0 is one',
);
add(
  'cl-te-identity',
  post(['Content-Length: 5', 'Transfer-Encoding: identity'], 'hello'),
  refused(),
  'any coding counts',
);
add(
  'cl-bad-te',
  post(['Content-Length: x', 'Transfer-Encoding: chunked'], CHUNKS),
  refused(),
  'a bad length is none that may be ignored',
);
add(
  'cl-te-1.0',
  'POST /c HTTP/1.0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhello',
  refused(),
  'in HTTP/1.0 too',
);
add(
  'cl-twice',
  post(['Content-Length: 5', 'Content-Length: 5'], 'hello'),
  served(HELLO),
  'the same length twice is one length',
);
add(
  'cl-twice-zeros',
  post(['Content-Length: 5', 'Content-Length: 05'], 'hello'),
  served(HELLO),
  'the same number',
);
add(
  'cl-differs',
  post(['Content-Length: 5', 'Content-Length: 6'], 'hello'),
  refused(),
  'some read the first, some the last',
);
add(
  'cl-differs-zero',
  post(['Content-Length: 0', `Content-Length: ${HIDDEN.length}`], HIDDEN),
  refused(),
  'as above',
);
add(
  'cl-list',
  post('Content-Length: 5, 5', 'hello'),
  refused(),
  'may be refused, and some proxies read 5 alone',
);
add('cl-list-differs', post('Content-Length: 5, 6', 'hello'), refused(), 'lengths that differ');
add('cl-list-empty', post('Content-Length: 5,', 'hello'), refused(), 'an empty element');
add(
  'cl-twice-empty',
  post(['Content-Length: 5', 'Content-Length:'], 'hello'),
  refused(),
  'an empty value is no number',
);
add(
  'get-cl',
  head('GET /c HTTP/1.1', 'Content-Length: 5') + 'hello',
  served(['GET', '/c', 'hello']),
  'any method may have a body',
);
add(
  'get-cl-hidden',
  head('GET /c HTTP/1.1', `Content-Length: ${HIDDEN.length}`) + HIDDEN,
  served(['GET', '/c', HIDDEN]),
  'as above: the body is no request',
);
add(
  'head-cl',
  head('HEAD /c HTTP/1.1', 'Content-Length: 5') + 'hello',
  served(['HEAD', '/c', 'hello']),
  'as above',
);
add(
  'delete-cl',
  head('DELETE /c HTTP/1.1', 'Content-Length: 5') + 'hello',
  served(['DELETE', '/c', 'hello']),
  'as above',
);
add(
  'options-chunked',
  head('OPTIONS /c HTTP/1.1', 'Transfer-Encoding: chunked') + CHUNKS,
  served(['OPTIONS', '/c', 'hello']),
  'as above',
);
add(
  'trace-cl',
  head('TRACE /c HTTP/1.1', 'Content-Length: 5') + 'hello',
  served(['TRACE', '/c', 'hello']),
  'a client must not, but the length counts',
);
add(
  'connect-cl',
  head('CONNECT h:80 HTTP/1.1', 'Content-Length: 5') + 'hello',
  closes(['CONNECT', 'h:80', 'hello']),
  'nothing behind it is a request, with or without body',
);
add(
  'post-no-length',
  post([], HIDDEN),
  served(posted(''), ['GET', '/hidden', '']),
  'a request without length has no body',
);
add(
  'body-like-request',
  post(`Content-Length: ${HIDDEN.length}`, HIDDEN),
  served(posted(HIDDEN)),
  'the body is no request',
);
add(
  'length-in-query',
  head('GET /c?Content-Length:%2033 HTTP/1.1'),
  served(['GET', '/c?Content-Length:%2033', '']),
  'no field',
);

section = 'RFC 9112 §7.1'; // Chunked coding
add(
  'chunk-upper-case',
  chunked('A\r\n0123456789\r\n0\r\n\r\n'),
  served(posted('0123456789')),
  'hexadecimal in either case',
);
add('chunk-leading-zeros', chunked('0005\r\nhello\r\n000\r\n\r\n'), served(HELLO), '1*HEXDIG');
add('chunk-sixteen-digits', chunked('0000000000000005\r\nhello\r\n0\r\n\r\n'), served(HELLO), 'as above');
add(
  'chunk-seventeen-digits',
  chunked('00000000000000005\r\nhello\r\n0\r\n\r\n'),
  served(HELLO),
  'more digits than a number of 64 bits has, but no larger number',
);
add(
  'chunk-many-digits',
  chunked(`${'0'.repeat(200)}5\r\nhello\r\n0\r\n\r\n`),
  refused(),
  'more of them than anybody needs',
);
add(
  'chunk-2^32',
  chunked('100000005\r\nhello\r\n0\r\n\r\n'),
  waits(),
  'not five, as a number of 32 bits would have it',
);
add(
  'chunk-2^64',
  chunked('10000000000000005\r\nhello\r\n0\r\n\r\n'),
  refused(),
  'not five, as a number of 64 bits would have it',
);
add('chunk-largest', chunked('ffffffffffffffff\r\nhello\r\n0\r\n\r\n'), waits(), 'not -1');
add('chunk-minus', chunked('-5\r\nhello\r\n0\r\n\r\n'), refused(), 'no signs');
add('chunk-plus', chunked('+5\r\nhello\r\n0\r\n\r\n'), refused(), 'no signs');
add('chunk-0x', chunked('0x5\r\nhello\r\n0\r\n\r\n'), refused(), 'zero to some, five to others');
add('chunk-underscore', chunked('1_0\r\nhello\r\n0\r\n\r\n'), refused(), 'digits alone');
add('chunk-no-digits', chunked('\r\nhello\r\n0\r\n\r\n'), refused(), 'the end to some');
add('chunk-space-before', chunked(' 5\r\nhello\r\n0\r\n\r\n'), refused(), 'digits first');
add(
  'chunk-space-behind',
  chunked('5 \r\nhello\r\n0\r\n\r\n'),
  refused(),
  'no white space without an extension',
);
add('chunk-tab-behind', chunked('5\t\r\nhello\r\n0\r\n\r\n'), refused(), 'as above');
add('chunk-space-inside', chunked('0 5\r\nhello\r\n0\r\n\r\n'), refused(), 'zero to some, five to others');
add('chunk-junk-behind', chunked('5x\r\nhello\r\n0\r\n\r\n'), refused(), 'digits alone');
add('chunk-nul', chunked('5\0\r\nhello\r\n0\r\n\r\n'), refused(), 'digits alone');
add('chunk-comma', chunked('5,5\r\nhello\r\n0\r\n\r\n'), refused(), 'digits alone');
add('chunk-lf', chunked('5\nhello\r\n0\r\n\r\n'), refused(), 'a bare LF ends no line');
add('chunk-cr', chunked('5\rhello\r\n0\r\n\r\n'), refused(), 'a bare CR ends no line');
add('chunk-crcrlf', chunked('5\r\r\nhello\r\n0\r\n\r\n'), refused(), 'as above');
add('chunk-data-lf', chunked('5\r\nhello\n0\r\n\r\n'), refused(), 'data ends with CRLF');
add('chunk-data-no-crlf', chunked('5\r\nhello0\r\n\r\n'), refused(), 'data ends with CRLF');
add('chunk-data-two-bytes', chunked('5\r\nhelloXX0\r\n\r\n'), refused(), 'some skip any two bytes there');
add('chunk-data-crlf-twice', chunked('5\r\nhello\r\n\r\n0\r\n\r\n'), refused(), 'an empty line is no size');
add('chunk-data-too-long', chunked('3\r\nhello\r\n0\r\n\r\n'), refused(), 'data is as long as its size says');
add('chunk-data-too-short', chunked('6\r\nhello\r\n0\r\n\r\n'), refused(), 'as above');
add('chunk-last-lf', chunked('5\r\nhello\r\n0\n\r\n'), refused(), 'a bare LF ends no line');
add('chunk-end-lf', chunked('5\r\nhello\r\n0\r\n\n'), refused(), 'nor a body');
add('chunk-end-cr', chunked('5\r\nhello\r\n0\r\n\rX'), refused(), 'nor a bare CR');
add(
  'chunk-end-missing',
  chunked('5\r\nhello\r\n0\r\n'),
  waits(refused()),
  'the last line is still to come; a request there is a trailer with a bad name',
);
add('chunk-end-missing-hidden', chunked(`5\r\nhello\r\n0\r\n${HIDDEN}`), refused(), 'as above');
add(
  'chunk-zeros-hidden',
  chunked(`0\r\n\r\n${HIDDEN}`),
  served(posted(''), ['GET', '/hidden', '']),
  'the body ends there for everybody',
);
add(
  'chunk-cut',
  chunked('5\r\nhe'),
  waits(refused()),
  'the data is still to come; a request does not fit there',
);

section = 'RFC 9112 §7.1.1'; // Chunk extensions
add('extension', chunked('5;a=b\r\nhello\r\n0;c\r\n\r\n'), served(HELLO), 'to be ignored');
add('extension-quoted', chunked('5;a="b;c"\r\nhello\r\n0\r\n\r\n'), served(HELLO), 'to be ignored');
add('extension-empty', chunked('5;\r\nhello\r\n0\r\n\r\n'), served(HELLO), 'nothing to be misread');
add(
  'extension-bad-space',
  chunked('5 ; a = b\r\nhello\r\n0\r\n\r\n'),
  served(HELLO),
  'BWS is to be accepted',
);
add('extension-digits', chunked('5;6\r\nhello\r\n0\r\n\r\n'), served(HELLO), 'the size is in front of it');
add(
  'extension-open-quote',
  chunked('5;a="b\r\nhello\r\n0\r\n\r\n'),
  served(HELLO),
  'a quoted string cannot go beyond its line',
);
add(
  'extension-quoted-crlf',
  chunked('5;a="\r\nhello\r\n0\r\n\r\n"'),
  refused(400, HELLO),
  'as above; the quotation mark begins a bad request',
);
add(
  'extension-lf',
  chunked('5;a\nhello\r\n0\r\n\r\n'),
  refused(),
  'a bare LF is a line end to some, a part of the extension to others',
);
add('extension-quoted-lf', chunked('5;a="\n"\r\nhello\r\n0\r\n\r\n'), refused(), 'as above');
add('extension-cr', chunked('5;a\rb\r\nhello\r\n0\r\n\r\n'), refused(), 'as above');
add('extension-lf-hidden', chunked(`5;\nhello\r\n21\r\n0\r\n\r\n${HIDDEN}`), refused(), 'an attack by it');
add('extension-nul', chunked('5;a\0\r\nhello\r\n0\r\n\r\n'), refused(), 'a control character');
add(
  'extension-long',
  chunked(`5;${'a'.repeat(20000)}\r\nhello\r\n0\r\n\r\n`),
  refused(),
  'more of it than anybody needs',
);

section = 'RFC 9112 §7.1.2'; // Trailer section
add('trailer', chunked('5\r\nhello\r\n0\r\nA: b\r\n\r\n'), served(HELLO), 'to be discarded');
add(
  'trailer-length',
  chunked('5\r\nhello\r\n0\r\nContent-Length: 33\r\n\r\n'),
  served(HELLO),
  'frames nothing, since it is discarded',
);
add(
  'trailer-coding',
  chunked('5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n'),
  served(HELLO),
  'as above',
);
add('trailer-host', chunked('5\r\nhello\r\n0\r\nHost: other\r\n\r\n'), served(HELLO), 'as above');
add(
  'trailer-request-line',
  chunked('5\r\nhello\r\n0\r\nGET /hidden HTTP/1.1\r\nA: b\r\n\r\n'),
  refused(),
  'no field',
);
add(
  'trailer-space-before-colon',
  chunked('5\r\nhello\r\n0\r\nA : b\r\n\r\n'),
  refused(),
  'the rules of fields hold',
);
add('trailer-fold', chunked('5\r\nhello\r\n0\r\nA: b\r\n c\r\n\r\n'), refused(), 'as above');
add('trailer-lf', chunked('5\r\nhello\r\n0\r\nA: b\n\r\n'), refused(), 'as above');
add('trailer-cr', chunked('5\r\nhello\r\n0\r\nA: b\rc\r\n\r\n'), refused(), 'as above');
add('trailer-nul', chunked('5\r\nhello\r\n0\r\nA: b\0\r\n\r\n'), refused(), 'as above');
add('trailer-no-colon', chunked('5\r\nhello\r\n0\r\nA\r\n\r\n'), refused(), 'as above');
add('trailer-empty-name', chunked('5\r\nhello\r\n0\r\n: b\r\n\r\n'), refused(), 'as above');
add(
  'trailer-long',
  chunked(`5\r\nhello\r\n0\r\nA: ${'b'.repeat(20000)}\r\n\r\n`),
  refused(431),
  'more of it than anybody needs',
);

section = 'RFC 9112 §9.3'; // Persistence and pipelining
add('close', get('Connection: close') + HIDDEN, closes(GOT), 'nothing behind it is a request');
add(
  'close-in-list',
  get('Connection: x, Close ,y') + HIDDEN,
  closes(GOT),
  'an option in a list, in any case',
);
add('close-and-keep-alive', get('Connection: keep-alive, close') + HIDDEN, closes(GOT), 'close is stronger');
add(
  'close-second-field',
  get('Connection: keep-alive', 'Connection: close') + HIDDEN,
  closes(GOT),
  'as above',
);
add('closed-not', get('Connection: closed') + HIDDEN, served(GOT, ['GET', '/hidden', '']), 'another word');
add(
  'proxy-connection',
  get('Proxy-Connection: close') + HIDDEN,
  served(GOT, ['GET', '/hidden', '']),
  'no field of HTTP',
);
add(
  'close-body',
  post(['Connection: close', 'Content-Length: 5'], 'hello') + HIDDEN,
  closes(HELLO),
  'behind the body',
);
add(
  'pipelined',
  get() + get() + post('Content-Length: 5', 'hello'),
  served(GOT, GOT, HELLO),
  'each on its own',
);
add('pipelined-chunked', chunked(CHUNKS) + chunked(CHUNKS), served(HELLO, HELLO), 'each on its own');
add(
  'good-before-bad',
  get() + 'GET /c HTTP/1.1\r\n\r\n' + HIDDEN,
  refused(400, GOT),
  'nothing behind the error is a request',
);
add('good-before-bad-chunk', get() + chunked('x') + HIDDEN, refused(400, GOT), 'as above');
add('good-before-garbage', `${get()}\0\0\0\0`, refused(400, GOT), 'as above');
add(
  'body-too-long',
  post('Content-Length: 3', 'hello'),
  { ...served(posted('hel')), behind: closes(posted('hel'), ['loGET', '/marker', '']) },
  'the rest begins the next request',
);

section = 'RFC 9110 §7.6.1'; // Connection options
add(
  'connection-length',
  post(['Connection: Content-Length', 'Content-Length: 5'], 'hello'),
  served(HELLO),
  'a server does not take out fields that are named there',
);
add(
  'connection-coding',
  post(['Connection: Transfer-Encoding', 'Transfer-Encoding: chunked'], CHUNKS),
  served(HELLO),
  'as above',
);
add('connection-host', get('Connection: Host'), served(GOT), 'as above');
add(
  'te-field',
  post(['TE: trailers, chunked', 'Content-Length: 5'], 'hello'),
  served(HELLO),
  'about the response',
);

section = 'RFC 9110 §7.8'; // Upgrade
add(
  'upgrade-h2c',
  get('Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAAQAAP__'),
  served(GOT),
  'to be ignored: HTTP/1.1 goes on',
);
add(
  'upgrade-h2c-hidden',
  get('Connection: Upgrade', 'Upgrade: h2c') + HIDDEN,
  served(GOT, ['GET', '/hidden', '']),
  'as above',
);
add(
  'upgrade-body',
  post(['Connection: Upgrade', 'Upgrade: x', 'Content-Length: 5'], 'hello'),
  served(HELLO),
  'the body comes first',
);
add(
  'upgrade-websocket-no-route',
  get(
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
  ),
  served(GOT),
  'a handler may answer without an upgrade',
);
add(
  'upgrade-websocket-body',
  head(
    'GET /c HTTP/1.1',
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    'Content-Length: 5',
  ) + 'hello',
  served(['GET', '/c', 'hello']),
  'as above, with a body',
);

section = 'RFC 9110 §10.1.1'; // Expect
add(
  'expect',
  post(['Expect: 100-continue', 'Content-Length: 5'], 'hello'),
  served(HELLO),
  'the body follows, asked for or not',
);
add('expect-chunked', chunked(CHUNKS, 'Expect: 100-continue'), served(HELLO), 'as above');
add('expect-no-body', get('Expect: 100-continue'), served(GOT), 'no body, nothing to wait for');
add(
  'expect-case',
  post(['Expect: 100-Continue', 'Content-Length: 5'], 'hello'),
  served(HELLO),
  'in any case',
);
add(
  'expect-other',
  post(['Expect: 200-ok', 'Content-Length: 5'], 'hello'),
  served(HELLO),
  'as the original does: the body is framed all the same',
);
add(
  'expect-twice',
  post(['Expect: 100-continue', 'Expect: x', 'Content-Length: 5'], 'hello'),
  served(HELLO),
  'as above',
);
add(
  'expect-1.0',
  'POST /c HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello',
  closes(HELLO),
  'HTTP/1.0 has no such thing',
);

section = 'PROXY protocol'; // The header that a balancer sends before the first request, or before each
add(
  'proxy-line',
  `PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n${get()}`,
  served(GOT),
  'a balancer may be in front, as the original has it',
);
add(
  'proxy-line-second',
  `${get()}PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n${get()}`,
  served(GOT, GOT),
  'it is taken, and counts for nothing',
);
add('proxy-line-bad', `PROXY TCP4 x y 1 2\r\n${get()}`, closes(), 'no request is served behind a bad one');
add(
  'proxy-line-unknown',
  `PROXY UNKNOWN \xc0 \xff\r\n${get()}`,
  served(GOT),
  'the receiver ignores all that stands behind UNKNOWN',
);
add(
  'proxy-line-as-request',
  'PROXY UNKNOWN HTTP/1.1\r\nHost: h\r\n\r\n',
  refused(),
  'the line is a header of PROXY, and no field behind it can be a request line',
);
add(
  'proxy-binary',
  `\r\n\r\n\0\r\nQUIT\n\x20\0\0\0${get()}`,
  served(GOT),
  'version 2, in which the balancer speaks for itself',
);
add(
  'proxy-binary-length',
  `\r\n\r\n\0\r\nQUIT\n\x20\0\0\x05helloo${get()}`,
  served(['oGET', '/c', '']),
  'its length says where the first request begins',
);
add(
  'proxy-binary-second',
  `${get()}\r\n\r\n\0\r\nQUIT\n\x20\0\0\0${get()}`,
  served(GOT, GOT),
  'it is taken, and counts for nothing',
);
add(
  'proxy-binary-version',
  `\r\n\r\n\0\r\nQUIT\n\x30\0\0\0${get()}`,
  closes(),
  'no request is served behind a bad one',
);
add('proxy-method', head('PROXY /c HTTP/1.1'), served(['PROXY', '/c', '']), 'any token is a method');

/** The outcome of a case with a request behind it. */
function expectedBehind({ want }) {
  if (want.behind) return want.behind;
  return want.end === 'open' ? closes(...want.requests, ['GET', '/marker', '']) : want;
}

module.exports = { CASES, expectedBehind };
