// COMPATIBILITY, see adapter-client.js: adapter 0.3 has no hook `unsubscribe`, and warns of one.
export { close, drain, message, open, subscribe, upgrade } from '../../hooks.ws';
