'use strict';
// Checks the limits of an App, and converts them to the form that the native side takes. The limits on topics
// are enforced here in JavaScript, where `subscribe` is answered, and all others in the loop.

const { got, quantity } = require('./validate');

const MAX_TIMEOUT_S = 24 * 60 * 60;
const MAX_U32 = 0xffffffff;

const COUNT = [1, MAX_U32];
const SECONDS = [0, MAX_TIMEOUT_S];
const BYTES = [0, Number.MAX_SAFE_INTEGER];

/** The bounds of each limit that is a number. */
const NUMBERS = Object.freeze({
  maxConnections: COUNT,
  maxConnectionsPerAddress: COUNT,
  headTimeout: SECONDS,
  requestTimeout: SECONDS,
  keepAliveTimeout: SECONDS,
  minBodyRate: [0, MAX_U32],
  maxBodyLength: BYTES,
  maxRequestsPerConnection: COUNT,
  maxUnsentBytes: [16 * 1024, Number.MAX_SAFE_INTEGER],
  maxTopicsPerConnection: BYTES,
  maxTopicLength: BYTES,
  maxSubscriptions: BYTES,
});
/** Limits for which Infinity, "no limit", is not the same as an absent one, and the number that says so. */
const UNLIMITED = Object.freeze({
  headTimeout: 0,
  requestTimeout: 0,
  keepAliveTimeout: 0,
  minBodyRate: 0,
  maxUnsentBytes: Number.MAX_SAFE_INTEGER,
});
/** Limits that are a rate. */
const RATES = Object.freeze(['maxRequestsPerAddress', 'maxUpgradesPerAddress']);
const RATE_BOUNDS = Object.freeze({ count: COUNT, seconds: [1, MAX_TIMEOUT_S] });

const NAMES = Object.freeze([...Object.keys(NUMBERS), ...RATES].sort());

function requireObject(value, name) {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new TypeError(`${name} must be an object; got ${value === null ? 'null' : typeof value}.`);
  }
}

function requireKnown(object, name, known) {
  const unknown = Object.keys(object).find((key) => !known.includes(key));
  if (unknown === undefined) return;
  throw new TypeError(`${name} has no ${JSON.stringify(unknown)}; it may have ${known.join(', ')}.`);
}

/**
 * A misspelt limit would protect nobody, so unknown names are refused, unlike those of options.
 * @returns {object | undefined} for the native side; `topics` are those of JavaScript
 */
function checkedLimits(limits) {
  if (limits === undefined) return undefined;
  requireObject(limits, 'limits');
  requireKnown(limits, 'limits', NAMES);
  const checked = {};
  for (const [name, [min, max]] of Object.entries(NUMBERS)) {
    const value = quantity(limits[name], `limits.${name}`, min, max);
    if (value === Infinity) checked[name] = UNLIMITED[name];
    else checked[name] = value;
  }
  for (const name of RATES) checked[name] = checkedRate(limits[name], `limits.${name}`);
  return { ...checked, topics: topicLimits(checked) };
}

/** The limits on subscriptions, all of them numbers; null: there are none. */
function topicLimits({
  maxTopicsPerConnection = Infinity,
  maxTopicLength = Infinity,
  maxSubscriptions = Infinity,
}) {
  const perConnection = maxTopicsPerConnection;
  if (Math.min(perConnection, maxTopicLength, maxSubscriptions) === Infinity) return null;
  return Object.freeze({ perConnection, maxTopicLength, maxSubscriptions });
}

/** The native side says which entry is neither an address nor a network. */
function checkedProxies(list) {
  if (list === undefined) return undefined;
  if (!Array.isArray(list)) throw new TypeError('trustedProxies must be an array of addresses and networks.');
  const copy = [...list];
  const wrong = copy.find((entry) => typeof entry !== 'string');
  if (wrong === undefined && copy.every((entry) => entry !== undefined)) return copy;
  throw new TypeError(`trustedProxies must be an array of text; it has ${got(wrong)}.`);
}

function checkedRate(rate, name) {
  if (rate === undefined) return undefined;
  requireObject(rate, name);
  const names = Object.keys(RATE_BOUNDS);
  requireKnown(rate, name, names);
  const [count, seconds] = names.map((part) => {
    if (rate[part] === undefined) throw new TypeError(`${name}.${part} is missing.`);
    return quantity(rate[part], `${name}.${part}`, ...RATE_BOUNDS[part]);
  });
  if (count === Infinity || seconds === Infinity) {
    throw new RangeError(`${name} must be finite; leave it out for no limit.`);
  }
  return { count, seconds };
}

module.exports = { checkedLimits, checkedProxies };
