'use strict';
// Debian's nginx, HAProxy and Varnish in front of a server, each in several ways of handling what comes. They
// run as the current user, on free ports of the loopback interface, with all their files in one folder.
//
// A proxy marks each request that it forwards (X-Proxy-Mark), and each response with the mark of the
// request that it belongs to (X-Proxy-Sent). A request that reaches the server without a mark, or with one
// that was seen before, is none that the proxy knows of.

const fs = require('fs');
const net = require('net');
const os = require('os');
const path = require('path');
const { spawn, spawnSync } = require('child_process');

/** In the order in which their ports are given to the configurations. */
const WAYS = {
  nginx: ['nginx', 'nginx, unbuffered', 'nginx, any header'],
  haproxy: ['HAProxy', 'HAProxy, any request'],
  varnish: ['Varnish, pass', 'Varnish, its own VCL'],
};
const PROGRAMS = { nginx: 'nginx', haproxy: 'haproxy', varnish: 'varnishd' };

/** Debian keeps them where the path of a user may not lead. */
const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/usr/local/sbin` };

const nginx = (folder, backends, ports) => `
  worker_processes 1; master_process off; daemon off; pid ${folder}/nginx.pid; error_log ${folder}/nginx.error;
  events { worker_connections 512; }
  http {
    log_format marks '$request_id $upstream_status';
    access_log ${folder}/nginx.log marks;
    client_body_temp_path ${folder}/body; proxy_temp_path ${folder}/proxy; fastcgi_temp_path ${folder}/f;
    uwsgi_temp_path ${folder}/u; scgi_temp_path ${folder}/s;
    large_client_header_buffers 4 16k;
    proxy_http_version 1.1; proxy_next_upstream off; proxy_read_timeout 10s;
    add_header X-Proxy-Sent $request_id always;
    proxy_set_header Connection ""; proxy_set_header X-Proxy-Mark $request_id; proxy_set_header Host $host;
    ${backends.map((port, at) => `upstream server${at} { server 127.0.0.1:${port}; keepalive 4; }`).join('\n')}
    server { server_name h; listen 127.0.0.1:${ports[0]}; location / { proxy_pass http://server0; } }
    server { server_name h; listen 127.0.0.1:${ports[1]}; proxy_request_buffering off; location / { proxy_pass http://server1; } }
    server { server_name h; listen 127.0.0.1:${ports[2]}; ignore_invalid_headers off; underscores_in_headers on;
      merge_slashes off; location / { proxy_pass http://server2; } }
  }`;

const haproxy = (folder, backends, ports) => `
  global
    log stdout format raw local0
    maxconn 500
  defaults
    mode http
    log global
    log-format "%ID %ST"
    timeout connect 5s
    timeout client 10s
    timeout server 10s
    http-reuse always
    unique-id-format %{+X}o%ci-%cp-%Ts-%rt
    unique-id-header X-Proxy-Mark
  frontend strict
    bind 127.0.0.1:${ports[0]}
    default_backend server0
  frontend lenient
    bind 127.0.0.1:${ports[1]}
    option accept-invalid-http-request
    default_backend server1
  backend server0
    http-response set-header X-Proxy-Sent %[unique-id]
    server ours 127.0.0.1:${backends[0]}
  backend server1
    http-response set-header X-Proxy-Sent %[unique-id]
    server ours 127.0.0.1:${backends[1]}
`;

const varnishBackend = (port, at) => `backend server${at} {
    .host = "127.0.0.1"; .port = "${port}"; .first_byte_timeout = 10s; .between_bytes_timeout = 10s;
  }`;
const varnish = (folder, backends) => `vcl 4.1;
  ${backends.map(varnishBackend).join('\n')}
  sub vcl_recv {
    if (local.socket == "pass") { set req.backend_hint = server0; return (pass); }
    set req.backend_hint = server1;
  }
  sub vcl_backend_fetch { set bereq.http.X-Proxy-Mark = bereq.xid; }
  sub vcl_backend_response {
    set beresp.uncacheable = true; set beresp.ttl = 0s; set beresp.http.X-Proxy-Sent = bereq.xid;
  }
  sub vcl_pipe { set bereq.http.X-Proxy-Mark = req.xid; }
`;

const START = {
  nginx(folder, backends, ports) {
    fs.writeFileSync(path.join(folder, 'nginx.conf'), nginx(folder, backends, ports));
    return ['-p', folder, '-e', `${folder}/nginx.error`, '-c', `${folder}/nginx.conf`];
  },
  haproxy(folder, backends, ports) {
    fs.writeFileSync(path.join(folder, 'haproxy.cfg'), haproxy(folder, backends, ports));
    return ['-db', '-f', `${folder}/haproxy.cfg`];
  },
  varnish(folder, backends, ports) {
    fs.writeFileSync(path.join(folder, 'server.vcl'), varnish(folder, backends));
    const sockets = ['pass', 'own'].flatMap((name, at) => ['-a', `${name}=127.0.0.1:${ports[at]}`]);
    // A field that it adds needs a place of its own (http_max_hdr), or is lost without a word.
    const parameters = ['http_max_hdr=256', 'thread_pool_min=10', 'timeout_idle=10'].flatMap((one) => [
      '-p',
      one,
    ]);
    const place = ['-j', 'none', '-n', `${folder}/varnish`, '-s', 'default,16m'];
    return ['-F', ...place, ...sockets, ...parameters, '-f', `${folder}/server.vcl`];
  },
};

/** All that a proxy has printed, into a file: HAProxy drops lines that a full pipe does not take. */
const output = (folder) => fs.readFileSync(path.join(folder, 'output.log'), 'utf8');

/** The lines of the access log: mark and status. */
const FORWARDED = {
  nginx: (folder) => fs.readFileSync(path.join(folder, 'nginx.log'), 'utf8'),
  haproxy: (folder) => output(folder),
  varnish: (folder) => {
    const options = ['-n', `${folder}/varnish`, '-d', '-b', '-F', '%{X-Proxy-Mark}i %s'];
    return spawnSync('varnishncsa', options, { env, encoding: 'utf8', maxBuffer: 1 << 28 }).stdout;
  },
};

/** The status that each forwarded request had from the server, by its mark. */
function readLog(text) {
  const lines = text.split('\n').map((line) => line.trim().split(' '));
  return new Map(lines.filter((words) => words.length >= 2).map(([mark, status]) => [mark, status]));
}

/** The proxies that are not installed. */
function missing() {
  return Object.values(PROGRAMS).filter((program) => spawnSync(program, ['-v'], { env }).error);
}

/** Reserves ports by binding them for a moment. */
async function freePorts(count) {
  const servers = await Promise.all(
    Array.from({ length: count }, () => {
      const server = net.createServer();
      return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)));
    }),
  );
  const ports = servers.map((server) => server.address().port);
  await Promise.all(servers.map((server) => new Promise((done) => server.close(done))));
  return ports;
}

/**
 * Starts a proxy in front of servers, one for each of its ways; resolves with { name, ways: [{ name, port }],
 * forwarded(), stop() }.
 */
async function startProxy(name, backends) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), `uws-${name}-`));
  const ports = await freePorts(WAYS[name].length);
  const printed = fs.openSync(path.join(folder, 'output.log'), 'a');
  const child = spawn(PROGRAMS[name], START[name](folder, backends, ports), {
    env,
    stdio: ['ignore', printed, printed],
  });
  fs.closeSync(printed);
  let ended = null;
  const end = new Promise((resolve) =>
    child.once('close', (code, signal) => resolve((ended = { code, signal }))),
  );
  const abandon = () => {
    child.kill('SIGKILL');
    fs.rmSync(folder, { recursive: true, force: true });
  };
  process.once('exit', abandon);
  const stop = async () => {
    child.kill('SIGTERM');
    const kill = setTimeout(() => child.kill('SIGKILL'), 3000);
    await end;
    clearTimeout(kill);
    process.removeListener('exit', abandon);
    fs.rmSync(folder, { recursive: true, force: true });
  };
  try {
    await Promise.all(
      ports.map((port) => accepting(port, () => ended && `${name} ended: ${output(folder)}`)),
    );
  } catch (error) {
    const said = output(folder);
    await stop();
    throw new Error(`${error.message}\n${said}`);
  }
  const forwarded = () => readLog(FORWARDED[name](folder));
  return { name, ways: WAYS[name].map((way, at) => ({ name: way, port: ports[at] })), forwarded, stop };
}

async function accepting(port, failed) {
  for (const end = Date.now() + 20000; ;) {
    const there = await new Promise((resolve) => {
      const socket = net.connect(port, '127.0.0.1');
      socket.once('connect', () => (socket.destroy(), resolve(true)));
      socket.once('error', () => resolve(false));
    });
    if (there) return;
    if (failed() || Date.now() > end) throw new Error(failed() || `nobody listens at ${port}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

module.exports = { PROXIES: Object.keys(WAYS), WAYS, freePorts, missing, startProxy };
