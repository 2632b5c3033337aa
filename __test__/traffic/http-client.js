'use strict';
// An HTTP client that knows what each of its requests must be answered with.

const { Line, sleep } = require('./line');
const { To, describing, fault } = require('./bytes');

const CHUNK_EXTENSION = ';name="va;lue"';

/** The bytes of a request's body, in its framing. */
function framed(body, { chunked, pieces, extension, trailer }, random) {
  if (!chunked) return body;
  const parts = [];
  const cuts = Array.from({ length: pieces - 1 }, () => random.below(body.length + 1));
  let from = 0;
  for (const cut of [...cuts, body.length].sort((a, b) => a - b)) {
    if (cut === from) continue;
    parts.push(Buffer.from(`${(cut - from).toString(16)}${extension ? CHUNK_EXTENSION : ''}\r\n`));
    parts.push(body.subarray(from, cut), Buffer.from('\r\n'));
    from = cut;
  }
  parts.push(Buffer.from(trailer ? '0\r\nx-trailer: yes\r\n\r\n' : '0\r\n\r\n'));
  return Buffer.concat(parts);
}

/** The names of a request's properties in the query that the server reads. */
const SCRIPT = {
  a: 'a',
  via: 'via',
  t: 't',
  n: 'n',
  k: 'k',
  status: 's',
  x: 'x',
  r: 'r',
  pause: 'pause',
  declared: 'v',
};

class HttpClient extends Line {
  constructor(plan, run) {
    super(plan, run);
    this.sequence = 0;
    /** Requests that are to be answered, in order. */
    this.expected = [];
    this.head = undefined;
    this.interim = 0;
  }

  /** Runs the plan of the connection; resolves when it has seen all it is to see. */
  async run() {
    const { bursts, end } = this.plan;
    for (const [i, burst] of bursts.entries()) {
      if (this.state !== 'open') break;
      const bytes = Buffer.concat(burst.requests.map((request) => this.bytesOf(request)));
      if (end.how === 'reset' && i === bursts.length - 1) return this.resetWithin(bytes, burst, end);
      await this.write(bytes, burst.pieces);
      if (end.how === 'half' && i === bursts.length - 1) return this.endHalf();
      if (burst.wait) await this.when(() => this.expected.length === 0);
      if (burst.pause) await sleep(burst.pause);
    }
    if (end.how === 'reset' || end.how === 'half') this.leave();
    else await this[end.how](end);
  }

  async resetWithin(bytes, burst, { part, after }) {
    await this.write(bytes.subarray(0, Math.floor(bytes.length * part)), burst.pieces);
    await sleep(after);
    this.reset();
  }

  async endHalf() {
    this.abrupt = true;
    this.halfClose();
    await this.when(() => false);
    this.leave();
  }

  /** Stays open until the server closes. */
  async open() {
    await this.when(() => this.expected.length === 0);
  }

  async close() {
    await this.when(() => this.expected.length === 0);
    this.check();
    this.leave();
  }

  /** The last request makes the server close. Bytes written behind it are not answered. */
  async server({ behind, dribble }) {
    if (behind)
      this.write(Buffer.from(`GET /get?a=end&c=${this.plan.id}&q=4095&n=9 HTTP/1.1\r\nHost: a\r\n\r\n`));
    while (dribble && this.state === 'open' && this.expected.length > 0) {
      await this.push(Buffer.from('x'));
      await sleep(dribble);
    }
    await this.when(() => false);
    this.leave();
  }

  async never({ after, reset }) {
    await this.when(() => this.expected.length === 0);
    await sleep(after);
    if (reset) this.reset();
    else this.leave();
  }

  bytesOf(request) {
    const { method = 'GET', path, body, version = '1.1', headers = [] } = request;
    const number = this.sequence++;
    const script = new URLSearchParams({ c: this.plan.id, q: number });
    for (const [name, key] of Object.entries(SCRIPT))
      if (request[name] !== undefined) script.set(key, request[name]);
    if (body) script.set('b', body.size);
    const lines = [
      `${method} ${path}?${script} HTTP/${version}`,
      `x-port: ${this.port}`,
      'Host: a',
      ...headers,
    ];
    if (body?.chunked) lines.push('Transfer-Encoding: chunked');
    else if (body) lines.push(`Content-Length: ${body.size}`);
    const parts = [Buffer.from(`${lines.join('\r\n')}\r\n\r\n`)];
    if (body) {
      const bytes = describing(To.SERVER, this.plan.id, number, body.size);
      parts.push(framed(bytes, body, this.random));
    }
    if (request.answered !== false) this.expected.push({ ...request, number });
    return Buffer.concat(parts);
  }

  // ---- what arrives

  feed() {
    while (this.step());
  }

  step() {
    if (this.head === undefined) {
      if (this.inbox.size === 0) return false;
      const text = this.inbox.until('\r\n\r\n');
      if (text === undefined) return false;
      return this.readHead(text);
    }
    const { length, chunked } = this.head;
    if (chunked) return this.readChunk();
    if (length === undefined || this.inbox.size < length) return false;
    return this.answered(this.inbox.take(length));
  }

  readHead(text) {
    const [first, ...lines] = text.slice(0, -4).split('\r\n');
    const status = /^HTTP\/1\.1 (\d{3}) /.exec(first);
    if (!status) return this.confused(`no response: ${JSON.stringify(text.slice(0, 200))}`);
    const headers = lines.map((line) => /^([^:]+): ?(.*)$/.exec(line) ?? ['', '', '']);
    const all = (name) => headers.filter(([, key]) => key.toLowerCase() === name).map(([, , value]) => value);
    const code = Number(status[1]);
    if (code === 100) {
      this.interim++;
      return true;
    }
    const request = this.expected[0];
    if (!request)
      return this.confused(`a response that nobody asked for: ${JSON.stringify(text.slice(0, 200))}`);
    const [announced, coding] = [all('content-length'), all('transfer-encoding')];
    if (announced.length + coding.length > 1) return this.confused(`framed twice: ${JSON.stringify(text)}`);
    const bodyless = request.method === 'HEAD' || code === 204 || code === 304;
    this.head = { code, id: all('x-id')[0], announced: announced[0], chunks: [] };
    this.head.chunked = coding.length > 0 && !bodyless;
    if (bodyless) this.head.length = 0;
    else if (announced.length > 0) this.head.length = Number(announced[0]);
    return true;
  }

  readChunk() {
    const { head } = this;
    if (head.size === undefined) {
      const line = this.inbox.until('\r\n');
      if (line === undefined) return false;
      if (!/^[0-9a-f]+\r\n$/i.test(line)) return this.confused(`chunk size ${JSON.stringify(line)}`);
      head.size = parseInt(line, 16);
    }
    if (this.inbox.size < head.size + 2) return false;
    head.chunks.push(this.inbox.take(head.size));
    if (this.inbox.take(2).toString('latin1') !== '\r\n') return this.confused('a chunk without its end');
    if (head.size === 0) return this.answered(Buffer.concat(head.chunks));
    head.size = undefined;
    return true;
  }

  answered(body) {
    const { head } = this;
    const request = this.expected.shift();
    this.head = undefined;
    const bad = this.judge(request, head, body);
    if (bad) this.wrong(`response to request ${request.number} (${request.a}): ${bad}`);
    return true;
  }

  judge(request, head, body) {
    const { status = '200 OK', number, n = 0 } = request;
    if (head.code !== Number(status.slice(0, 3)))
      return `status ${head.code} instead of ${status}, ${body.subarray(0, 200)}`;
    if (request.page) return undefined;
    if (request.declared) return body.toString() === `${request.declared}.` ? undefined : `declared ${body}`;
    const got = request.a === 'read' ? `.${request.body?.size ?? 0}` : '';
    if (head.id !== `${this.plan.id}.${number}${got}`)
      return `x-id ${head.id} instead of ${this.plan.id}.${number}${got}`;
    if (request.method === 'HEAD')
      return Number(head.announced) === n ? undefined : `length ${head.announced}`;
    if (head.code === 204 || head.code === 304) return undefined;
    return fault(body, To.CLIENT, this.plan.id, number, n);
  }

  confused(text) {
    this.wrong(text);
    this.reset();
    return false;
  }

  /** A body without length ends with the connection (HTTP/1.0). */
  onOver() {
    const { head } = this;
    if (this.state === 'fin' && head && !head.chunked && head.length === undefined) {
      this.answered(this.inbox.take(this.inbox.size));
    }
  }

  /** Called when the connection is over, or the run is. */
  check() {
    if (this.checked) return;
    this.checked = true;
    if (this.abrupt || this.plan.end.partial) return;
    if (this.state === 'reset' && this.expected.length > 0) this.wrong('reset by the server');
    for (const request of this.expected) {
      const part = this.head ? `, head ${JSON.stringify({ ...this.head, chunks: undefined })}` : '';
      this.wrong(
        `request ${request.number} (${request.a ?? request.path}) got no response; ${this.state}, ${this.inbox.size} bytes${part}`,
      );
      break;
    }
    if (this.expected.length === 0 && this.inbox.size > 0 && this.plan.end.how !== 'server') {
      this.wrong(`${this.inbox.size} bytes behind the last response: ${this.inbox.peek(100)}`);
    }
  }
}

module.exports = { HttpClient };
