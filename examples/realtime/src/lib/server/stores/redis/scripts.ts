/**
 * Operations that must be atomic in Redis. KEYS of a topic or room have its name in braces, so that a Redis
 * Cluster keeps them together; those of the instances do not, so presence needs a single Redis.
 */

/** Milliseconds by the clock of Redis, on which all instances agree. */
const NOW = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)`;

/**
 * KEYS seq, events, items, order; ARGV body of the event, its name, item id, item, kept events, kept items,
 * channel, and a reference where the event may exist already. Numbers the event, keeps it, applies it and
 * publishes it to all. Numbers begin at the time, so that those of an earlier log, which clients may still
 * have, are always smaller.
 */
const WRITE = `${NOW}
if ARGV[8] ~= '' then
  local lines = redis.call('ZRANGE', KEYS[2], 0, -1, 'WITHSCORES')
  for i = 1, #lines, 2 do
    if string.find(lines[i], ARGV[8], 1, true) then return tonumber(lines[i + 1]) end
  end
end
if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('SET', KEYS[1], string.format('%d', now * 1000)) end
local seq = redis.call('INCR', KEYS[1])
local line = '{"seq":' .. string.format('%d', seq) .. ',' .. string.sub(ARGV[1], 2)
redis.call('ZADD', KEYS[2], seq, line)
redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -1 - ARGV[5])
if ARGV[2] == 'deleted' then
  redis.call('HDEL', KEYS[3], ARGV[3])
  redis.call('ZREM', KEYS[4], ARGV[3])
else
  redis.call('HSET', KEYS[3], ARGV[3], ARGV[4])
  redis.call('ZADD', KEYS[4], 'NX', seq, ARGV[3])
  local surplus = redis.call('ZCARD', KEYS[4]) - ARGV[6]
  if surplus > 0 then
    local oldest = redis.call('ZPOPMIN', KEYS[4], surplus)
    for i = 1, #oldest, 2 do redis.call('HDEL', KEYS[3], oldest[i]) end
  end
end
redis.call('PUBLISH', ARGV[7], line)
return seq`;

/** KEYS seq, items, order. Returns the last number, and the items in the order in which they were created. */
const ITEMS = `
local seq = tonumber(redis.call('GET', KEYS[1]) or 0)
local ids = redis.call('ZRANGE', KEYS[3], 0, -1)
if #ids == 0 then return {seq} end
return {seq, unpack(redis.call('HMGET', KEYS[2], unpack(ids)))}`;

/**
 * KEYS seq, events; ARGV number. Returns the last number, whether all events after that one are kept, and
 * those events.
 */
const SINCE = `
local seq = tonumber(redis.call('GET', KEYS[1]) or 0)
local since = tonumber(ARGV[1])
local first = tonumber(redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')[2] or seq + 1)
if since < first - 1 or since > seq then return {seq, 0} end
return {seq, 1, unpack(redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. ARGV[1], '+inf'))}`;

/**
 * KEYS seq, events, items, order; ARGV number, how many items, then id and item of each, then number and body
 * of events. Restores a topic.
 */
const RESTORE = `
if tonumber(redis.call('GET', KEYS[1]) or 0) >= tonumber(ARGV[1]) then return 0 end
redis.call('DEL', KEYS[2], KEYS[3], KEYS[4])
redis.call('SET', KEYS[1], ARGV[1])
local events = 3 + 2 * ARGV[2]
for i = 3, events - 1, 2 do
  redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 1])
  redis.call('ZADD', KEYS[4], i - events, ARGV[i])
end
for i = events, #ARGV, 2 do redis.call('ZADD', KEYS[2], ARGV[i], ARGV[i + 1]) end
return 1`;

/**
 * KEYS people, count, rooms of the instance; ARGV field, person, key, room, channel, message. Publishes a new
 * person.
 */
const JOIN = `
redis.call('SADD', KEYS[3], ARGV[4])
if redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) == 0 then return 0 end
if redis.call('HINCRBY', KEYS[2], ARGV[3], 1) == 1 then redis.call('PUBLISH', ARGV[5], ARGV[6]) end
return 1`;

/**
 * KEYS people, count; ARGV field, key, channel, message. Publishes that a person has left with the last
 * connection.
 */
const LEAVE = `
if redis.call('HDEL', KEYS[1], ARGV[1]) == 0 then return 0 end
if redis.call('HINCRBY', KEYS[2], ARGV[2], -1) <= 0 then
  redis.call('HDEL', KEYS[2], ARGV[2])
  redis.call('PUBLISH', ARGV[3], ARGV[4])
end
return 1`;

/**
 * KEYS instances; ARGV instance, milliseconds it may be silent, channel, prefix of keys, whether to look for
 * others. Says that the instance is alive, and returns whether it counted as dead; removes the people of
 * those that do.
 */
const BEAT = `${NOW}
local added = redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
if ARGV[5] == '0' then return added end
for _, dead in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now)) do
  local rooms = ARGV[4] .. 'rooms:' .. dead
  for _, room in ipairs(redis.call('SMEMBERS', rooms)) do
    local people = ARGV[4] .. 'presence:{' .. room .. '}'
    local fields = redis.call('HGETALL', people)
    for i = 1, #fields, 2 do
      if string.sub(fields[i], 1, #dead + 1) == dead .. '|' then
        local key = cjson.decode(fields[i + 1]).key
        redis.call('HDEL', people, fields[i])
        if redis.call('HINCRBY', people .. ':count', key, -1) <= 0 then
          redis.call('HDEL', people .. ':count', key)
          local leave = {kind = 'presence', room = room, event = 'leave', data = {key = key}}
          redis.call('PUBLISH', ARGV[3], cjson.encode(leave))
        end
      end
    end
  end
  redis.call('DEL', rooms)
  redis.call('ZREM', KEYS[1], dead)
end
return added`;

/**
 * KEYS bucket; ARGV points, milliseconds in which they come back. Returns whether there was one, how many are
 * left, and when the next comes.
 */
const TAKE = `${NOW}
local points, interval = tonumber(ARGV[1]), tonumber(ARGV[2])
local bucket = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens = math.min(points, (bucket[1] or points) + (now - (bucket[2] or now)) * points / interval)
local allowed = tokens >= 1
if allowed then tokens = tokens - 1 end
redis.call('HSET', KEYS[1], 'tokens', string.format('%.6f', tokens), 'at', string.format('%d', now))
redis.call('PEXPIRE', KEYS[1], math.ceil((points - tokens) * interval / points) + 1000)
local reset = tokens >= 1 and 0 or math.ceil((1 - tokens) * interval / points)
return {allowed and 1 or 0, math.floor(tokens), reset}`;

/** The scripts by name, with their numbers of keys. */
export const SCRIPTS = {
  logWrite: [WRITE, 4],
  logItems: [ITEMS, 3],
  logSince: [SINCE, 2],
  logRestore: [RESTORE, 4],
  presenceJoin: [JOIN, 3],
  presenceLeave: [LEAVE, 2],
  presenceBeat: [BEAT, 1],
  rateTake: [TAKE, 1],
} as const satisfies Record<string, readonly [lua: string, keys: number]>;
