import uWS from 'uWebSockets.js'; // or: const uWS = require('uWebSockets.js')

uWS
  .App()
  .get('/hello/:name', (res, req) => res.end(`Hello ${req.getParameter(0)}`))
  .ws('/chat', {
    open: (ws) => ws.subscribe('room'),
    message: (ws, message, isBinary) => ws.publish('room', message, isBinary),
  })
  .listen(9001, uWS.LIBUS_LISTEN_EXCLUSIVE_PORT, (token) => {
    console.log(token ? 'Listening on port 9001' : 'Port 9001 is taken');
  });
