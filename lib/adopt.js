'use strict';
// The arguments of `adoptSocket`: a connection that was accepted elsewhere.

const net = require('net');
const { types } = require('util');
const { bytes, got } = require('./validate');

const NO_ADDRESS = Buffer.alloc(0);

/** An error about a socket, with a code as those of the system have. */
function socketError(code, text) {
  return Object.assign(new Error(text), { code });
}

/** Whether Node's socket has been used: then bytes of the stream are in its buffers, or gone. */
function isUsed(socket) {
  return socket.bytesRead > 0 || socket.bytesWritten > 0 || socket.writableLength > 0;
}

/** Returns the descriptor of a socket of Node. */
function descriptorOf(socket) {
  if (socket.encrypted) {
    throw new TypeError(
      'socket must be a connection before its TLS handshake, which an SSLApp makes itself.',
    );
  }
  if (socket.destroyed || socket.connecting) {
    throw socketError('ENOTCONN', 'The socket is not connected, or its peer is gone.');
  }
  if (isUsed(socket)) {
    throw socketError('EALREADY', 'The socket has been read or written: createServer needs pauseOnConnect.');
  }
  // Node has no other way to it. Runtimes without it have no number for us.
  const descriptor = socket._handle?.fd;
  if (!isDescriptor(descriptor)) throw socketError('EBADF', 'The socket has no file descriptor here.');
  return descriptor;
}

const isDescriptor = (value) => Number.isInteger(value) && value >= 0 && value <= 0x7fffffff;

/** Reads the first argument: { descriptor, socket }, where `socket` is the object whose it is, if any. */
function connectionOf(value) {
  if (value instanceof net.Socket) return { descriptor: descriptorOf(value), socket: value };
  if (value === 1 || value === 2) {
    throw socketError('EBUSY', `The file descriptor ${value} is that of a standard stream, which Node has.`);
  }
  if (isDescriptor(value)) return { descriptor: value };
  throw new TypeError(
    `socket must be a file descriptor, which is an integer from 0 on, or a net.Socket; got ${got(value)}.`,
  );
}

/** Reads the address of the client, which is as `getRemoteAddress` returns it; empty: that of the peer. */
function addressOf(value) {
  if (value === undefined) return NO_ADDRESS;
  if (!ArrayBuffer.isView(value) && !types.isAnyArrayBuffer(value)) {
    throw new TypeError(`ip must be the bytes of an address in a buffer; got ${got(value)}.`);
  }
  const address = bytes(types.isSharedArrayBuffer(value) ? new Uint8Array(value) : value);
  if (![0, 4, 16].includes(address.length)) {
    throw new RangeError(`ip must have 4 or 16 bytes, or none; got ${address.length}.`);
  }
  return Buffer.from(address);
}

module.exports = { addressOf, connectionOf, socketError };
