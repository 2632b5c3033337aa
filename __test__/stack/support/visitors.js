'use strict';

// Visitors of examples/realtime, by name: raw clients and tabs that carry the cookie the app knows them by.

const { randomUUID } = require('node:crypto');
const { openTab, visit } = require('./browser.js');
const { Client } = require('./client.js');
const { until } = require('./app.js');

/** The id of a visitor, made of up to eight letters. */
function idOf(name) {
  return Buffer.from(name).toString('hex').padEnd(16, '0').slice(0, 16);
}

/** A raw client of the visitor. */
function connect(server, name) {
  return Client.open(server, { cookie: `visitor=${idOf(name)}` });
}

/** A tab of the visitor that is connected. */
async function openPage(browser, server, name, path) {
  const context = await visit(browser, server, { cookies: { visitor: idOf(name) } });
  const tab = await openTab(context, server, path);
  await tab.page.waitForSelector('[data-testid=connection][data-state=open]');
  return tab;
}

/** Says something in a room; resolves with the message. */
function say(client, room, text) {
  return client.call('rooms/say', room, randomUUID(), text);
}

/** Puts something on the list; resolves with the todo. */
function addTodo(client, text) {
  return client.call('todos/addTodo', randomUUID(), text);
}

const textsOf = (events) => events.filter(({ event }) => event === 'created').map(({ data }) => data.text);

/** The server's word on its store, once `check` holds of it: { kind, instance, circuit }. */
function storeOf(client, check = () => true) {
  return until(async () => {
    const { data } = (await client.stream('session/status')).response;
    return check(data) && data;
  }, 'the store is as expected');
}

module.exports = { addTodo, connect, idOf, openPage, say, storeOf, textsOf };
