'use strict';
// Where other servers and proxies see a request end elsewhere than uws-rs, or accept another set of
// requests, and why nobody is led astray by it. The tests find out what differs and compare with this list:
// a difference that is not in it fails them, and so does one that no longer occurs. docs/smuggling.md is
// made from it.
//
// All of these are safe, since uws-rs serves what can be read in one way alone, and ends the connection at
// anything else, so nothing behind a doubtful byte is a request. The proxies write each request anew: where
// one is more lenient than uws-rs it forwards what it understood, in a form that all understand alike.

const { KINDS } = require('./compare');
const { readStream } = require('./reference');

const NGINX = ['nginx', 'nginx, unbuffered', 'nginx, any header'];
const HAPROXY = ['HAProxy', 'HAProxy, any request'];
const VARNISH = ['Varnish, pass', 'Varnish, its own VCL'];

/** A proxy goes on behind a refusal if the request had been sent by then, and ends the connection if not. */
const SOMETIMES = true;

/** `found`: [who, how they differ (compare.js), ids of cases, whether by chance] */
const DISAGREEMENTS = [
  {
    why: 'Varnish finds the fault of a chunked body, or what it takes for one, when it has forwarded the request: it ends the body with a last chunk, drops the connection and answers 503. The server sees a request whose body is cut short, but no other request.',
    found: [
      [
        [...VARNISH],
        'forwards a request that it does not answer',
        'chunk-2^32 chunk-2^64 chunk-largest chunk-minus chunk-plus chunk-0x chunk-underscore chunk-no-digits chunk-space-inside chunk-junk-behind chunk-nul chunk-comma chunk-cr chunk-crcrlf chunk-data-no-crlf chunk-data-two-bytes chunk-data-crlf-twice chunk-data-too-long chunk-end-cr chunk-end-missing chunk-end-missing-hidden chunk-cut extension extension-quoted extension-empty extension-bad-space extension-digits extension-open-quote extension-quoted-crlf extension-lf extension-quoted-lf extension-cr extension-lf-hidden extension-nul extension-long trailer-request-line trailer-space-before-colon trailer-fold trailer-lf trailer-cr trailer-nul trailer-no-colon trailer-empty-name trailer-long good-before-bad-chunk',
      ],
    ],
  },
  {
    why: 'A client of HTTP/0.9 gets the body of a response without its head, and here it is empty. nginx forwards the request as one of HTTP/1.1 and closes the connection.',
    found: [[[...NGINX], 'forwards a request that it does not answer', 'version-0.9']],
  },
  {
    why: 'The proxy takes LF, or CR before LF, for a line end, which RFC 9112 §2.2 allows, and forwards the head with line ends of its own.',
    found: [
      [
        [...NGINX, ...HAPROXY, ...VARNISH],
        'serves what uws-rs refuses',
        'lf-before lf-everywhere lf-after-request-line lf-after-field lf-at-end lf-for-last-field lf-hides-length lf-hides-coding',
      ],
      [[...NGINX, ...VARNISH], 'serves what uws-rs refuses', 'cr-before'],
      [[...NGINX], 'serves what uws-rs refuses', 'crcrlf te-bare-cr'],
    ],
  },
  {
    why: 'llhttp skips CR and LF in any order in front of a request, which then begins at the same byte.',
    found: [[['http'], 'serves what uws-rs refuses', 'lf-before cr-before']],
  },
  {
    why: 'The original does not skip an empty line in front of a request (RFC 9112 §2.2) and waits for its end in vain.',
    found: [
      [['20.57'], 'waits for more where uws-rs serves', 'crlf-before crlf-before-twice crlf-after-body'],
    ],
  },
  {
    why: 'The original looks for the end of the line and does not see the fault before; nothing is served in the meantime.',
    found: [
      [
        ['20.57'],
        'waits where uws-rs refuses',
        'cr-before cr-in-field cr-hides-length cr-hides-coding crcrlf version-0.9 method-alone target-cr te-bare-cr extension-lf extension-cr extension-nul',
      ],
    ],
  },
  {
    why: 'The proxy skips white space there and forwards a head without it.',
    found: [[[...VARNISH], 'serves what uws-rs refuses', 'space-before']],
  },
  {
    why: 'The original does not speak HTTP/1.0.',
    found: [
      [
        ['20.57'],
        'refuses what uws-rs serves',
        'version-1.0 version-1.0-keep-alive version-1.0-length expect-1.0',
      ],
    ],
  },
  {
    why: 'llhttp refuses bytes behind a request that is the last of its connection, by `Connection: close`, `Proxy-Connection: close` or HTTP/1.0, where uws-rs and the RFC ignore them (§9.6). Proxy-Connection means nothing to uws-rs.',
    found: [
      [
        ['http'],
        'refuses what uws-rs serves',
        'version-1.0 close close-in-list close-and-keep-alive close-second-field proxy-connection close-body expect-1.0',
      ],
    ],
  },
  {
    why: 'Node ends a connection of HTTP/1.0 after the response.',
    found: [
      [['http'], 'ends the connection where uws-rs serves', 'version-1.0-keep-alive version-1.0-length'],
    ],
  },
  {
    why: 'The original parses requests behind a `Connection: close` that came in the same read. uws-rs ends the connection after the response (the difference close-before-more).',
    found: [
      [
        ['20.57'],
        'goes on where uws-rs ends the connection',
        'close close-in-list close-and-keep-alive close-second-field close-body',
      ],
    ],
  },
  {
    why: 'Node takes a chunked body in HTTP/1.0, if the connection stays. uws-rs goes by RFC 9112 §6.1, which calls the framing faulty.',
    found: [[['http'], 'serves what uws-rs refuses', 'te-version-1.0-keep-alive']],
  },
  {
    why: 'Varnish takes a chunked body in HTTP/1.0 and forwards it as one of HTTP/1.1.',
    found: [[[...VARNISH], 'serves what uws-rs refuses', 'te-version-1.0 te-version-1.0-keep-alive']],
  },
  {
    why: 'The proxy answers another version in its own way: it forwards it as HTTP/1.1, or closes the connection.',
    found: [
      [[...NGINX, ...HAPROXY], 'serves what uws-rs refuses', 'version-1.2'],
      [[...HAPROXY], 'serves what uws-rs refuses', 'version-2.0'],
      [['HAProxy, any request'], 'serves what uws-rs refuses', 'version-0.9'],
      [[...VARNISH], 'serves what uws-rs refuses', 'version-lower-case'],
      [[...NGINX], 'serves what uws-rs refuses', 'version-two-digits'],
      [[...NGINX], 'ends the connection without a word where uws-rs refuses', 'version-0.9'],
      [[...HAPROXY, ...VARNISH], 'ends the connection without a word where uws-rs refuses', 'http2-preface'],
    ],
  },
  {
    why: 'Several spaces between the parts of a request line are taken for one (RFC 9112 §3 allows it); a proxy forwards one.',
    found: [
      [
        [...NGINX, ...HAPROXY, ...VARNISH, 'http'],
        'serves what uws-rs refuses',
        'two-spaces two-spaces-before-version',
      ],
      [[...NGINX], 'serves what uws-rs refuses', 'space-after-version'],
      [[...HAPROXY], 'serves what uws-rs refuses', 'tab-for-space'],
    ],
  },
  {
    why: 'Only methods that it knows or likes are accepted; Varnish’s own VCL pipes the others and gives their connection to nobody else.',
    found: [
      [[...NGINX, 'http'], 'refuses what uws-rs serves', 'method-lower-case method-token'],
      [['http'], 'refuses what uws-rs serves', 'method-long proxy-method'],
      [
        ['Varnish, its own VCL'],
        'ends the connection where uws-rs serves',
        'method-lower-case method-token method-long proxy-method',
      ],
    ],
  },
  {
    why: 'The original checks no method; the request ends at the same byte.',
    found: [[['20.57'], 'serves what uws-rs refuses', 'method-separator method-colon']],
  },
  {
    why: 'Varnish forwards the method as it is. The server refuses that request, and the proxy’s client goes on with the next.',
    found: [
      [
        ['Varnish, pass'],
        'goes on behind a request that both refuse',
        'bom-before method-separator method-obs-text method-colon',
      ],
    ],
  },
  {
    why: 'Limits differ: 4096 bytes and 100 fields here unless UWS_HTTP_MAX_HEADERS_SIZE says more.',
    found: [
      [[...VARNISH], 'goes on behind a request that both refuse', 'fields-too-many'],
      [['http'], 'serves what uws-rs refuses', 'target-too-long fields-too-many fields-too-long'],
      [
        [...NGINX, ...HAPROXY, ...VARNISH],
        'goes on behind a request that both refuse',
        'target-too-long fields-too-long',
      ],
      [[...NGINX], 'goes on behind a request that both refuse', 'fields-too-many'],
      [[...HAPROXY], 'refuses what uws-rs serves', 'name-long'],
    ],
  },
  {
    why: 'CONNECT: uws-rs serves it and ends the connection, so that bytes of a tunnel are never requests. Others refuse it, take no body with it, or keep the connection.',
    found: [
      [[...HAPROXY, 'http'], 'divides otherwise', 'connect-cl'],
      [[...NGINX, '20.57'], 'refuses what uws-rs serves', 'target-authority connect-hidden connect-cl'],
      [[...NGINX, 'HAProxy'], 'refuses what uws-rs serves', 'connect-with-path'],
      [
        ['Varnish, pass'],
        'goes on where uws-rs ends the connection',
        'target-authority connect-hidden connect-cl',
      ],
      [['20.57', 'Varnish, pass'], 'goes on where uws-rs ends the connection', 'connect-with-path'],
    ],
  },
  {
    why: 'HAProxy refuses a fragment, which no client sends; uws-rs passes it on as it came.',
    found: [[['HAProxy'], 'refuses what uws-rs serves', 'target-fragment']],
  },
  {
    why: 'HAProxy refuses an authority that is not the Host.',
    found: [[['HAProxy'], 'refuses what uws-rs serves', 'target-absolute-other-host']],
  },
  {
    why: 'The original knows targets in origin form alone (the difference target-forms).',
    found: [
      [['20.57'], 'refuses what uws-rs serves', 'target-asterisk target-absolute target-absolute-other-host'],
    ],
  },
  {
    why: 'nginx refuses the asterisk form.',
    found: [[[...NGINX], 'refuses what uws-rs serves', 'target-asterisk']],
  },
  {
    why: 'The proxy forwards a target that the server refuses; its client goes on with the next request.',
    found: [
      [
        [...VARNISH, 'HAProxy, any request'],
        'goes on behind a request that both refuse',
        'target-no-slash target-empty-query target-authority-get',
      ],
      [
        [...HAPROXY, ...VARNISH],
        'goes on behind a request that both refuse',
        'target-asterisk-get target-absolute-user target-absolute-scheme',
      ],
      [[...HAPROXY], 'goes on behind a request that both refuse', 'target-absolute-no-host'],
    ],
  },
  {
    why: 'The original takes DEL in a target.',
    found: [[['20.57'], 'serves what uws-rs refuses', 'target-del']],
  },
  {
    why: 'Such a target is accepted, or replaced by the path alone; the request ends at the same byte.',
    found: [
      [['http'], 'serves what uws-rs refuses', 'target-asterisk-get target-absolute-user'],
      [['http'], 'serves what uws-rs refuses', 'target-absolute-no-host'],
      [[...NGINX, 'http'], 'serves what uws-rs refuses', 'target-absolute-scheme'],
    ],
  },
  {
    why: 'A missing Host is refused by the server alone, or added by the proxy; its client goes on with the next request.',
    found: [
      [
        [...HAPROXY, 'Varnish, its own VCL'],
        'goes on behind a request that both refuse',
        'no-host good-before-bad',
      ],
      [['Varnish, pass'], 'serves what uws-rs refuses', 'no-host good-before-bad'],
    ],
  },
  {
    why: 'The proxy forwards a Host that the server refuses; its client goes on with the next request.',
    found: [
      [
        [...HAPROXY, ...VARNISH],
        'goes on behind a request that both refuse',
        'host-empty host-path host-list host-space',
      ],
      [[...VARNISH], 'goes on behind a request that both refuse', 'target-absolute-no-host'],
      [[...NGINX, ...HAPROXY, ...VARNISH], 'goes on behind a request that both refuse', 'host-user'],
    ],
  },
  {
    why: 'HAProxy forwards one of two equal Hosts.',
    found: [[[...HAPROXY], 'serves what uws-rs refuses', 'host-twice host-twice-1.0']],
  },
  {
    why: 'Other bytes, or a second Host, are accepted; the request ends at the same byte.',
    found: [
      [['http'], 'serves what uws-rs refuses', 'host-twice host-differs'],
      [
        ['http', '20.57'],
        'serves what uws-rs refuses',
        'host-empty host-path host-list host-user host-space',
      ],
    ],
  },
  {
    why: 'The proxy replaces a folded line by spaces, as RFC 9112 §5.2 allows, and forwards one line.',
    found: [
      [
        [...HAPROXY, ...VARNISH],
        'serves what uws-rs refuses',
        'fold fold-tab fold-length fold-coding fold-coding-tab fold-hides-coding fold-empty',
      ],
    ],
  },
  {
    why: 'The proxy drops or forwards such a field; a server that sees it refuses that request alone.',
    found: [
      [
        ['HAProxy, any request'],
        'goes on behind a request that both refuse',
        'space-before-first-field space-before-colon length-space-before-colon coding-space-before-colon tab-before-colon name-nul name-control name-vertical-tab name-hidden-coding',
      ],
      [
        ['nginx, any header', 'HAProxy, any request'],
        'goes on behind a request that both refuse',
        'name-obs-text name-parenthesis',
      ],
      [[...HAPROXY], 'goes on behind a request that both refuse', 'value-nul'],
      [[...NGINX, ...HAPROXY], 'goes on behind a request that both refuse', 'value-control'],
      [[...NGINX], 'serves what uws-rs refuses', 'no-colon'],
      [['nginx', 'nginx, unbuffered'], 'serves what uws-rs refuses', 'name-obs-text name-parenthesis'],
    ],
  },
  {
    why: 'The original takes an empty name; the request ends at the same byte.',
    found: [[['20.57'], 'serves what uws-rs refuses', 'empty-name']],
  },
  {
    why: 'A tab behind the value is taken for a part of it. uws-rs strips it, as RFC 9112 §5.1 says.',
    found: [[[...NGINX, 'http'], 'refuses what uws-rs serves', 'value-tabs te-spaces']],
  },
  {
    why: 'The original takes any Transfer-Encoding for chunked, goes by the first Content-Length, and takes an empty one for none. uws-rs refuses all of them (the difference lenient-framing).',
    found: [
      [
        ['20.57'],
        'serves what uws-rs refuses',
        'te-chunked-identity te-identity-chunked te-gzip-chunked te-gzip te-chunked-twice te-fields-twice te-fields-chunked-identity te-fields-identity-chunked te-fields-junk te-junk-behind te-junk-before te-comma-before te-comma-behind te-parameter te-quoted te-semicolon te-empty te-no-break-space cl-arabic-digits cl-empty cl-differs cl-differs-zero cl-twice-empty',
      ],
    ],
  },
  {
    why: 'A length of any number of digits is read, and written anew by the proxies; the end of the body is where it says.',
    found: [
      [[...NGINX, 'http'], 'serves what uws-rs refuses', 'cl-many-zeros'],
      [[...HAPROXY, ...VARNISH], 'goes on behind a request that both refuse', 'cl-many-zeros'],
      [['http'], 'waits where uws-rs refuses', 'cl-2^53 cl-2^63'],
      [['20.57'], 'waits where uws-rs refuses', 'cl-2^53'],
    ],
  },
  {
    why: 'Node takes other codings in front of chunked, and an empty element. uws-rs understands chunked alone and refuses what it could only hand over undecoded.',
    found: [
      [
        ['http'],
        'serves what uws-rs refuses',
        'te-identity-chunked te-gzip-chunked te-fields-identity-chunked te-comma-before',
      ],
    ],
  },
  {
    why: 'Varnish looks at the first Transfer-Encoding, reads the body as chunked and forwards one field.',
    found: [
      [
        [...VARNISH],
        'serves what uws-rs refuses',
        'te-fields-twice te-fields-chunked-identity te-fields-junk',
      ],
    ],
  },
  {
    why: 'HAProxy skips the empty element and forwards the field; the server refuses that request alone.',
    found: [[[...HAPROXY], 'goes on behind a request that both refuse', 'te-comma-behind']],
  },
  {
    why: 'HAProxy goes by Transfer-Encoding, as RFC 9112 §6.3 says, and forwards no Content-Length.',
    found: [[[...HAPROXY], 'serves what uws-rs refuses', 'cl-te te-cl cl-te-hidden te-cl-hidden cl-zero-te']],
  },
  {
    why: 'HAProxy makes one length of a list of equal ones, as RFC 9112 §6.3 allows, and forwards one.',
    found: [[[...HAPROXY], 'serves what uws-rs refuses', 'cl-list']],
  },
  {
    why: 'A second Content-Length is refused, even the same one; RFC 9112 §6.3 allows both.',
    found: [[[...NGINX, ...VARNISH, 'http'], 'refuses what uws-rs serves', 'cl-twice cl-twice-zeros']],
  },
  {
    why: 'A body that large, or one that stops coming, is refused at once by its length, or when the proxy has waited long enough; uws-rs waits until its timeout.',
    found: [
      [[...VARNISH], 'refuses where uws-rs waits for more', 'cl-short'],
      [[...NGINX, ...VARNISH], 'refuses where uws-rs waits for more', 'cl-2^32 chunk-2^32'],
      [[...NGINX, ...HAPROXY, ...VARNISH, '20.57'], 'refuses where uws-rs waits for more', 'chunk-largest'],
    ],
  },
  {
    why: 'Varnish drops the body of a GET, up to its end, and forwards none.',
    found: [[[...VARNISH], 'divides otherwise', 'te-get get-cl get-cl-hidden upgrade-websocket-body']],
  },
  {
    why: 'A method that the proxy does not take, or not with a body.',
    found: [
      [[...VARNISH], 'refuses what uws-rs serves', 'head-cl'],
      [[...NGINX], 'refuses what uws-rs serves', 'trace-cl'],
    ],
  },
  {
    why: 'The original knows no chunk extensions (the difference chunk-extension).',
    found: [
      [['20.57'], 'waits for more where uws-rs serves', 'extension extension-empty extension-digits'],
      [
        ['20.57'],
        'refuses what uws-rs serves',
        'extension-quoted extension-open-quote extension-quoted-crlf',
      ],
    ],
  },
  {
    why: 'An extension, or one that is not by the grammar, is refused. uws-rs ignores what stands between the size and CRLF.',
    found: [
      [[...VARNISH], 'refuses what uws-rs serves', 'extension extension-quoted extension-digits'],
      [
        [...VARNISH, 'http'],
        'refuses what uws-rs serves',
        'extension-empty extension-bad-space extension-open-quote extension-quoted-crlf',
      ],
    ],
  },
  {
    why: 'The original knows no trailers (the difference trailer-field).',
    found: [
      [['20.57'], 'refuses what uws-rs serves', 'trailer trailer-length trailer-coding trailer-host'],
      [['20.57'], 'serves what uws-rs refuses', 'trailer-empty-name'],
    ],
  },
  {
    why: 'Trailers are refused, or those that frame a message. uws-rs discards them all.',
    found: [
      [[...VARNISH], 'refuses what uws-rs serves', 'trailer trailer-host'],
      [[...VARNISH, 'http'], 'refuses what uws-rs serves', 'trailer-length trailer-coding'],
    ],
  },
  {
    why: 'Any number of leading zeros is taken. uws-rs takes 127, which is more than anybody sends.',
    found: [
      [
        ['http', '20.57', ...NGINX, ...HAPROXY, ...VARNISH],
        'serves what uws-rs refuses',
        'chunk-many-digits',
      ],
    ],
  },
  {
    why: 'The original skips bytes behind a size up to LF, and any two bytes behind data; without digits it takes the chunk for the last (the difference lenient-framing).',
    found: [
      [
        ['20.57'],
        'serves what uws-rs refuses',
        'chunk-no-digits chunk-space-before chunk-space-behind chunk-tab-behind chunk-space-inside chunk-nul chunk-lf chunk-crcrlf chunk-data-lf chunk-data-no-crlf chunk-data-two-bytes chunk-data-too-short chunk-last-lf chunk-end-lf chunk-end-cr chunk-end-missing chunk-end-missing-hidden',
      ],
    ],
  },
  {
    why: 'The proxy takes other line ends, spaces, anything in extensions or trailers, or skips bytes up to a line end. It forwards the body in chunks or with a length of its own, and no extensions or trailers.',
    found: [
      [[...VARNISH], 'serves what uws-rs refuses', 'chunk-space-before'],
      [
        [...NGINX, ...HAPROXY, ...VARNISH],
        'serves what uws-rs refuses',
        'chunk-space-behind chunk-tab-behind chunk-lf chunk-data-lf chunk-data-too-short chunk-last-lf chunk-end-lf',
      ],
      [
        [...NGINX],
        'serves what uws-rs refuses',
        'chunk-space-inside chunk-end-missing chunk-end-missing-hidden extension-long trailer-request-line trailer-space-before-colon trailer-nul trailer-no-colon trailer-empty-name trailer-long',
      ],
      [
        [...NGINX, ...HAPROXY],
        'serves what uws-rs refuses',
        'extension-lf extension-nul trailer-fold trailer-lf',
      ],
      [
        [...HAPROXY],
        'goes on behind a request that both refuse',
        'trailer-space-before-colon trailer-nul',
        SOMETIMES,
      ],
    ],
  },
  {
    why: 'nginx looks for the letters of close in the value, and ends the connection.',
    found: [[[...NGINX], 'ends the connection where uws-rs serves', 'closed-not']],
  },
  {
    why: 'The error of a request that comes in the same read takes the answer to the one before it along, which is lost (in the original the difference good-before-bad).',
    found: [
      [['20.57'], 'refuses what uws-rs serves', 'good-before-bad'],
      [['http', '20.57'], 'refuses what uws-rs serves', 'good-before-bad-chunk good-before-garbage'],
    ],
  },
  {
    why: 'The bytes behind the body begin a request with a method that the other does not take.',
    found: [[[...NGINX, 'http'], 'refuses what uws-rs serves', 'body-too-long']],
  },
  {
    why: 'Varnish refuses to take these fields out.',
    found: [[[...VARNISH], 'refuses what uws-rs serves', 'connection-length connection-host']],
  },
  {
    why: 'Node without an `upgrade` listener answers the request, then takes no more bytes for requests. uws-rs ignores the Upgrade and goes on, as RFC 9110 §7.8 says.',
    found: [
      [['http'], 'waits for more where uws-rs serves', 'upgrade-websocket-body'],
      [
        ['http'],
        'waits for more where uws-rs serves',
        'upgrade-h2c upgrade-h2c-hidden upgrade-body upgrade-websocket-no-route',
      ],
    ],
  },
  {
    why: 'An expectation that is not 100-continue is refused with 417, or a second one with 400. The original does not look, and so does uws-rs.',
    found: [
      [[...VARNISH, 'http'], 'refuses what uws-rs serves', 'expect-other'],
      [[...NGINX], 'refuses what uws-rs serves', 'expect-twice'],
    ],
  },
  {
    why: 'The header of the PROXY protocol is understood by uws-rs and the original alone, and where a proxy is told to. 20.57 reads version 2, the binary one, in front of each request, and so does uws-rs, where the first one counts. A client of these proxies cannot pass one on, since it is no request; where the line of version 1 looks like one, the server refuses the fields behind it.',
    found: [
      [
        [...NGINX, ...HAPROXY, ...VARNISH, 'http'],
        'refuses what uws-rs serves',
        'proxy-binary proxy-binary-length proxy-binary-second proxy-line-second',
      ],
      [
        [...NGINX, ...HAPROXY, ...VARNISH, 'http'],
        'refuses where uws-rs ends the connection',
        'proxy-binary-version',
      ],
      [
        ['HAProxy, any request', 'Varnish, pass'],
        'goes on behind a request that both refuse',
        'proxy-line-as-request',
      ],
      [['20.57'], 'keeps the connection that uws-rs ends', 'proxy-binary-version'],
      [
        [...NGINX, ...HAPROXY, ...VARNISH, 'http', '20.57'],
        'refuses what uws-rs serves',
        'proxy-line proxy-line-unknown',
      ],
      [['20.57'], 'refuses what uws-rs serves', 'proxy-line-second'],
      [
        [...NGINX, ...HAPROXY, ...VARNISH, 'http', '20.57'],
        'refuses where uws-rs ends the connection',
        'proxy-line-bad',
      ],
    ],
  },
];

/**
 * Lines that say what is wrong with this list, given the differences { peer, kind, id } that were found
 * among some peers.
 */
function unexplained(peers, found) {
  const [known, needed] = [new Set(), new Set()];
  for (const [names, kind, ids, sometimes] of DISAGREEMENTS.flatMap((entry) => entry.found)) {
    for (const peer of names.filter((name) => peers.includes(name))) {
      for (const id of ids.split(' ')) {
        const line = `${peer} ${kind}: ${id}`;
        known.add(line);
        if (!sometimes) needed.add(line);
      }
    }
  }
  const there = new Set(found.map(({ peer, kind, id }) => `${peer} ${kind}: ${id}`));
  return [
    ...[...there].filter((line) => !known.has(line)).map((line) => `not explained: ${line}`),
    ...[...needed].filter((line) => !there.has(line)).map((line) => `explained, but does not occur: ${line}`),
  ];
}

/**
 * Known faults and choices of other servers, for streams that are no cases: a stream explains itself by
 * them when `shows` finds the reason in it.
 */
const QUIRKS = [
  {
    peer: 'http',
    why: 'no requests behind an Upgrade',
    shows: (stream) => /^upgrade[ \t]*:/im.test(stream),
  },
  { peer: 'http', why: 'no body with CONNECT', shows: (stream) => /CONNECT /.test(stream) },
  {
    peer: 'http',
    // A tab is white space, too (RFC 9110 §5.6.3): llhttp takes `close` and a tab for another option.
    why: 'goes on behind Connection: close and a tab',
    shows: (stream, kind) => kind === KINDS['closed request'] && /^connection:.*close\t/im.test(stream),
  },
  { peer: '20.57', why: 'CONNECT like any method', shows: (stream) => /CONNECT /.test(stream) },
  {
    peer: '20.57',
    why: 'goes on behind Connection: close',
    shows: (stream, kind) => kind === KINDS['closed request'] && /^connection:.*close/im.test(stream),
  },
  {
    peer: '20.57',
    why: 'waits behind an empty line',
    shows: (stream, kind) =>
      kind === KINDS['request waits'] && readStream(stream).requests.some(({ emptyLine }) => emptyLine),
  },
  { peer: '20.57', why: 'any coding is chunked', shows: (stream) => /^transfer-encoding:/im.test(stream) },
  {
    peer: '20.57',
    why: 'an empty Content-Length is none',
    shows: (stream) => /^content-length:\s*$/im.test(stream),
  },
];

/** Why the stream divides another server from uws-rs; undefined when no one knows. */
function quirk(peer, stream, kind, ours, theirs) {
  return QUIRKS.find((each) => each.peer === peer && each.shows(stream, kind, ours, theirs))?.why;
}

module.exports = { DISAGREEMENTS, quirk, unexplained };
