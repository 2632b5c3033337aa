/**
 * The tables of the kept topics. A trigger numbers and keeps every change of an item, by any program, and
 * notifies all instances: `UPDATE live_items SET data = data || '{"done": true}' WHERE …` in psql shows in
 * every browser.
 */
import { ITEMS, REPLAYED } from '../topics';

export const CHANNEL = 'uws_rs_example';

/** PostgreSQL notifies of at most 8000 bytes at a time. */
export const TOLD_MAX = 7000;

/** Once in so many events the old ones are deleted. */
const TRIM_EVERY = 100;

const LOCK = 7_305_001;

const TABLES = `
CREATE TABLE IF NOT EXISTS live_topics (
  topic text PRIMARY KEY,
  seq bigint NOT NULL
);
CREATE TABLE IF NOT EXISTS live_items (
  topic text NOT NULL,
  id text NOT NULL,
  data jsonb NOT NULL,
  position bigserial,
  PRIMARY KEY (topic, id)
);
CREATE INDEX IF NOT EXISTS live_items_position ON live_items (topic, position);
CREATE TABLE IF NOT EXISTS live_events (
  topic text NOT NULL,
  seq bigint NOT NULL,
  event text NOT NULL,
  data jsonb NOT NULL,
  ref text,
  by text,
  at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (topic, seq)
);
CREATE UNLOGGED TABLE IF NOT EXISTS live_messages (
  id bigserial PRIMARY KEY,
  message text NOT NULL,
  at timestamptz NOT NULL DEFAULT now()
);`;

/** The row lock on the topic makes events visible, and notifies of them, in the order of their numbers. */
const CHANGED = `
CREATE OR REPLACE FUNCTION live_changed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  event text := CASE TG_OP WHEN 'INSERT' THEN 'created' WHEN 'UPDATE' THEN 'updated' ELSE 'deleted' END;
  item live_items := CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
  its_ref text := nullif(current_setting('live.ref', true), '');
  its_by text := nullif(current_setting('live.by', true), '');
  number bigint;
  told text;
BEGIN
  IF current_setting('live.quiet', true) = 'on' THEN RETURN NULL; END IF;
  -- Numbers begin at the time, so that those of an earlier log, which clients may still come back with, are smaller.
  INSERT INTO live_topics VALUES (item.topic, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint * 1000 + 1)
    ON CONFLICT (topic) DO UPDATE SET seq = live_topics.seq + 1 RETURNING seq INTO number;
  INSERT INTO live_events VALUES (item.topic, number, event, item.data || jsonb_build_object('id', item.id), its_ref, its_by);
  IF number % ${TRIM_EVERY} = 0 THEN
    DELETE FROM live_events past WHERE past.topic = item.topic AND past.seq <= number - ${REPLAYED};
  END IF;
  told := json_build_object('kind', 'log', 'topic', item.topic, 'seq', number, 'event', event,
    'data', item.data || jsonb_build_object('id', item.id), 'ref', its_ref, 'by', its_by);
  IF octet_length(told) > ${TOLD_MAX} THEN
    told := json_build_object('kind', 'log', 'topic', item.topic, 'seq', number);
  END IF;
  PERFORM pg_notify('${CHANNEL}', told);
  RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER live_changed AFTER INSERT OR UPDATE OR DELETE ON live_items
  FOR EACH ROW EXECUTE FUNCTION live_changed();`;

/**
 * Writes drafts in their order, unless their reference exists already where \`again\` is set. Returns their
 * numbers.
 */
const WRITE = `
CREATE OR REPLACE FUNCTION live_write(drafts jsonb) RETURNS SETOF bigint LANGUAGE plpgsql AS $$
DECLARE
  draft jsonb;
  number bigint;
BEGIN
  FOR draft IN SELECT * FROM jsonb_array_elements(drafts) LOOP
    number := NULL;
    IF (draft->>'again')::boolean THEN
      -- Waits for whoever is writing it right now.
      PERFORM FROM live_topics t WHERE t.topic = draft->>'topic' FOR UPDATE;
      SELECT seq INTO number FROM live_events e WHERE e.topic = draft->>'topic' AND e.ref = draft->>'ref';
    END IF;
    IF number IS NULL THEN
      PERFORM set_config('live.ref', draft->>'ref', true), set_config('live.by', coalesce(draft->>'by', ''), true);
      IF draft->>'event' = 'deleted' THEN
        DELETE FROM live_items i WHERE i.topic = draft->>'topic' AND i.id = draft->'data'->>'id';
      ELSE
        INSERT INTO live_items (topic, id, data) VALUES (draft->>'topic', draft->'data'->>'id', draft->'data')
          ON CONFLICT (topic, id) DO UPDATE SET data = excluded.data;
      END IF;
      SELECT seq INTO number FROM live_topics t WHERE t.topic = draft->>'topic';
      IF number % ${TRIM_EVERY} = 0 THEN PERFORM live_trim(draft->>'topic'); END IF;
    END IF;
    RETURN NEXT coalesce(number, 0);
  END LOOP;
  PERFORM set_config('live.ref', '', true), set_config('live.by', '', true);
END $$;
CREATE OR REPLACE FUNCTION live_trim(name text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  oldest bigint;
BEGIN
  SELECT position INTO oldest FROM live_items WHERE topic = name ORDER BY position DESC OFFSET ${ITEMS - 1} LIMIT 1;
  IF oldest IS NULL THEN RETURN; END IF;
  PERFORM set_config('live.quiet', 'on', true);
  DELETE FROM live_items WHERE topic = name AND position < oldest;
  PERFORM set_config('live.quiet', '', true);
END $$;`;

/** The whole schema; the instance that comes first creates it. */
export const SCHEMA = `
BEGIN;
SELECT pg_advisory_xact_lock(${LOCK});
SET LOCAL client_min_messages = warning;
${TABLES}
${CHANGED}
${WRITE}
COMMIT;`;
