'use strict';
// How two servers differ over one stream of bytes.

/** Whether two requests are one and the same; of one answered with 404 only its end is known. */
function same(a, b) {
  if (!a.method || !b.method) return true;
  // An empty query is as good as none.
  const [to, other] = [a, b].map(({ target }) => target.replace(/\?$/, ''));
  return a.method === b.method && to === other && a.body === b.body;
}

/** The first thing over which another server differs from ours, as one of KINDS, or null. */
function difference(ours, theirs) {
  for (let at = 0; ; at++) {
    const [mine, other] = [ours.events[at], theirs.events[at]];
    const [what, otherwise] = [word(mine, ours.end), word(other, theirs.end)];
    if (what !== otherwise || (what === 'request' && !same(mine, other)))
      return KINDS[`${what} ${otherwise}`];
    if (what === 'refused') return theirs.events.length > at + 1 ? KINDS['refused more'] : null;
    if (!mine) return null;
  }
}

function word(event, end) {
  if (!event) return end;
  return event.refused ? 'refused' : 'request';
}

/** The kinds of differences, by what uws-rs and the other server make of the bytes where they part. */
const KINDS = {
  'request request': 'divides otherwise',
  'request refused': 'refuses what uws-rs serves',
  'request waits': 'waits for more where uws-rs serves',
  'request closed': 'ends the connection where uws-rs serves',
  'refused request': 'serves what uws-rs refuses',
  'refused waits': 'waits where uws-rs refuses',
  'refused closed': 'ends the connection without a word where uws-rs refuses',
  'refused more': 'goes on behind a request that both refuse',
  'waits request': 'serves where uws-rs waits for more',
  'waits refused': 'refuses where uws-rs waits for more',
  'waits closed': 'ends the connection where uws-rs waits for more',
  'closed request': 'goes on where uws-rs ends the connection',
  'closed refused': 'refuses where uws-rs ends the connection',
  'closed waits': 'keeps the connection that uws-rs ends',
};

/** A proxy forwarded something that the client got no answer to. */
const UNANSWERED = 'forwards a request that it does not answer';

module.exports = { KINDS, UNANSWERED, difference, same };
