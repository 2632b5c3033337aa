// Wrong uses that the types must reject: tsc fails on an expected error that does not occur.

import uWS = require('uws-rs');

const app = uWS.App();

// @ts-expect-error options are an object
uWS.App('options');
// @ts-expect-error without settings there is no TLS
uWS.SSLApp();
// @ts-expect-error a path is text or data
uWS.SSLApp({ key_file_name: 1 });
// @ts-expect-error no such option
uWS.SSLApp({ key: 'key.pem' });
// @ts-expect-error no such limit
uWS.App({ limits: { maxConnection: 1 } });
// @ts-expect-error a rate has two numbers
uWS.App({ limits: { maxRequestsPerAddress: 100 } });
// @ts-expect-error a list
uWS.App({ trustedProxies: '10.0.0.0/8' });

// @ts-expect-error a handler is missing
app.get('/');
// @ts-expect-error a handler is a function
app.get('/', 'handler');
// @ts-expect-error a pattern is text
app.get(/x/, () => {});
// @ts-expect-error DELETE is `del`
app.delete('/', () => {});
// @ts-expect-error a program ends with `end`
app.get('/', new uWS.DeclarativeResponse().write('text'));

// @ts-expect-error options of a cached route are an object
app.get('/', (res) => void res.end(), 5);
// @ts-expect-error a number of seconds
app.get('/', (res) => void res.end(), { upperExpiry: '5' });
// @ts-expect-error the answer of a cached route is whole
app.get('/', (res) => void res.write('x'), {});

// @ts-expect-error the callback is missing
app.listen(3000);
// @ts-expect-error a port is missing
app.listen('localhost', () => {});
// @ts-expect-error the path comes last
app.listen_unix('./socket', () => {});
// @ts-expect-error a listen socket is given
uWS.us_listen_socket_close(undefined);

// @ts-expect-error options are an object
app.shutdown(5);
// @ts-expect-error a message is missing
app.publish('topic');
// @ts-expect-error a message is text or data
app.publish('topic', { some: 'object' });
// @ts-expect-error a message is text or data
app.publish('topic', 5);

app.get('/', (res, req) => {
  // @ts-expect-error the total is missing
  res.tryEnd('chunk');
  // @ts-expect-error a status is text
  res.writeStatus(200);
  // @ts-expect-error a value is text
  res.writeHeader('content-length', 5);
  // @ts-expect-error onWritable answers
  res.onWritable(() => {});
  // @ts-expect-error the limit comes first
  res.collectBody(() => {});
  // @ts-expect-error the remaining length is a bigint
  res.onDataV2((chunk, remaining: number) => console.log(chunk, remaining));
  // @ts-expect-error five arguments
  res.upgrade({}, 'key', 'protocol', 'extensions');
  // @ts-expect-error a parameter may be missing
  req.getParameter(0).length;
  // @ts-expect-error a value may be missing
  req.getQuery('key').length;
  // @ts-expect-error no such method
  req.getBody();
});

app.ws<{ id: number }>('/', {
  // @ts-expect-error no such option
  maxPayload: 5,
});
app.ws<{ id: number }>('/', {
  // @ts-expect-error seconds, as a number
  idleTimeout: '32',
});
app.ws<{ id: number }>('/', {
  open: (ws) => {
    // @ts-expect-error the user data has no such property
    console.log(ws.getUserData().name);
    // @ts-expect-error a message is missing
    ws.send();
    // @ts-expect-error a code is a number
    ws.end('1000');
    // @ts-expect-error the status is a number
    const sent: boolean = ws.send('message');
    console.log(sent);
  },
  // @ts-expect-error a message is an ArrayBuffer
  message: (ws, message: string) => console.log(ws, message),
});

// @ts-expect-error constants cannot be set
uWS.DISABLED = 1;
// @ts-expect-error integers are numbers
uWS.setInteger('key', 'value');
