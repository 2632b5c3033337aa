'use strict';

// Visitors of examples/realtime, by name: raw clients and tabs with the cookie by which the app knows them.

const { randomUUID } = require('node:crypto');
const { openTab, visit } = require('./browser.js');
const { Client } = require('./client.js');
const { until } = require('./app.js');

/** Returns the id of a visitor, made of up to eight letters. */
function idOf(name) {
  return Buffer.from(name).toString('hex').padEnd(16, '0').slice(0, 16);
}

/** Opens a raw client of the visitor. */
function connect(server, name) {
  return Client.open(server, { cookie: `visitor=${idOf(name)}` });
}

/** Opens a connected tab of the visitor. */
async function openPage(browser, server, name, path) {
  const context = await visit(browser, server, { cookies: { visitor: idOf(name) } });
  const tab = await openTab(context, server, path);
  await tab.page.waitForSelector('[data-testid=connection][data-state=open]');
  return tab;
}

/** Posts a message in a room; resolves with it. */
function say(client, room, text) {
  return client.call('rooms/say', room, randomUUID(), text);
}

/** Adds an item to the list; resolves with the todo. */
function addTodo(client, text) {
  return client.call('todos/addTodo', randomUUID(), text);
}

const textsOf = (events) => events.filter(({ event }) => event === 'created').map(({ data }) => data.text);

/** Returns the server's message about its store, once `check` holds for it: { kind, instance, circuit }. */
function storeOf(client, check = () => true) {
  return until(async () => {
    const { data } = (await client.stream('session/status')).response;
    return check(data) && data;
  }, 'the store is as expected');
}

module.exports = { addTodo, connect, idOf, openPage, say, storeOf, textsOf };
