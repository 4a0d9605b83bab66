-- Every statement over the schema `reconciler`, by name.

-- name: kept
-- The glance's other arm, sent together with the mapping's SELECT over the application's tables.
SELECT 'finding', f.bucket, f.key, f.s3_version, f.row_id,
       jsonb_build_object('id', f.id, 'kind', f.kind, 'state', f.state, 'revision', f.revision, 'cause', f.cause,
                          'suspected_at', f.suspected_at, 'previous_status', f.previous_status,
                          'held_by', f.held_by, 'named_by', f.named_by, 'hashed',
                          CASE WHEN f.evidence ? 'content_sha256' THEN jsonb_build_object(
                              'sha256', f.evidence -> 'content_sha256', 'etag', f.evidence -> 'content_etag',
                              's3_version', f.evidence -> 'content_s3_version',
                              'modified', f.evidence -> 'content_modified') END,
                          'erasing', f.state = 'approved' AND f.evidence @? '$.erasing.how')::text
FROM reconciler.finding AS f
WHERE f.key = ANY (%(keys)b) AND f.closed_at IS NULL
UNION ALL
SELECT 'look', l.bucket, l.key, l.s3_version, NULL, jsonb_build_object('asks', l.asks, 'attempt', l.attempt)::text
FROM reconciler.look AS l
WHERE l.key = ANY (%(keys)b)

-- name: not_plain
-- Which hints are not plainly healthy, by number, and whether any row names the key. Plain is: at least one row, all of
-- them live and of the hint's size and ETag (a row without them agrees). A hint without a size is never plain, nor is a row
-- that names an S3 version.
WITH r AS MATERIALIZED (SELECT bucket, key, s3_version, size, etag, state FROM ({rows}) AS r)
SELECT DISTINCT h.n::int - 1, r.key IS NOT NULL
FROM unnest(%(buckets)b::text[], %(keys)b::text[], %(sizes)b::int8[], %(etags)b::text[]) WITH ORDINALITY
     AS h (bucket, key, size, etag, n)
LEFT JOIN r ON r.key COLLATE "C" = h.key COLLATE "C" AND r.bucket COLLATE "C" = h.bucket COLLATE "C"
WHERE r.key IS NULL OR r.state <> 'live' OR h.size IS NULL OR r.size <> h.size OR r.etag <> h.etag
   OR r.s3_version <> ''

-- name: drifting
SELECT DISTINCT f.key FROM reconciler.finding AS f WHERE f.key = ANY (%(keys)b) AND f.closed_at IS NULL

-- name: record
-- The one statement that sets a finding's state. A revision that is not the expected one changes nothing, nor does another
-- finding of that place and revision, which followed one that was closed. Every proposed row has `closed_at` NULL, without
-- which it would not meet the partial index and pass by the current finding.
WITH change AS (
    SELECT * FROM jsonb_to_recordset(%(changes)s) AS c (
        id bigint, bucket text COLLATE "C", key text COLLATE "C", s3_version text COLLATE "C", row_id text COLLATE "C",
        kind text, cause text, state text, revision integer, file_id text, group_name text, owner text,
        size_bytes bigint, etag text, previous_status text, held_by text, named_by text, evidence jsonb,
        act text, from_state text, why text)
), kept AS (
    INSERT INTO reconciler.finding AS f
        (bucket, key, s3_version, row_id, kind, cause, state, revision, file_id, group_name, owner, size_bytes, etag,
         previous_status, held_by, opened_at, named_by, evidence)
    SELECT bucket, key, s3_version, row_id, kind, cause, state, revision, file_id, group_name, owner, size_bytes, etag,
           previous_status, held_by, CASE WHEN state = 'open' THEN now() END, ARRAY[named_by], evidence
    FROM change
    ON CONFLICT (key, bucket, s3_version, row_id) WHERE closed_at IS NULL DO UPDATE SET
        kind = excluded.kind,
        cause = excluded.cause,
        state = excluded.state,
        revision = excluded.revision,
        file_id = coalesce(excluded.file_id, f.file_id),
        group_name = coalesce(excluded.group_name, f.group_name),
        owner = coalesce(excluded.owner, f.owner),
        size_bytes = coalesce(excluded.size_bytes, f.size_bytes),
        etag = coalesce(excluded.etag, f.etag),
        previous_status = excluded.previous_status,
        held_by = excluded.held_by,
        suspected_at = CASE WHEN f.kind <> excluded.kind THEN now() ELSE f.suspected_at END,
        opened_at = CASE WHEN excluded.state = 'suspected' THEN NULL ELSE coalesce(f.opened_at, excluded.opened_at) END,
        closed_at = CASE WHEN excluded.state IN ('resolved', 'deleted') THEN now() END,
        named_by = CASE WHEN f.named_by @> excluded.named_by THEN f.named_by ELSE f.named_by || excluded.named_by END,
        evidence = f.evidence || excluded.evidence
    WHERE f.revision = excluded.revision - 1 AND f.id IN (SELECT id FROM change)
    RETURNING id, bucket, key, s3_version, row_id, revision, xmax = 0 AS fresh
), told AS (
    INSERT INTO reconciler.history
        (finding_id, subject, actor, act, from_state, to_state, why, evidence, revision, kind, cause, published_at)
    SELECT kept.id, change.bucket || '/' || change.key, %(actor)s, change.act, change.from_state, change.state,
           change.why, change.evidence, change.revision, change.kind, change.cause,
           CASE WHEN %(silent)s AND change.revision = 1 THEN now() ELSE (SELECT reconciler.published_unless_wanted()) END
    FROM kept JOIN change USING (bucket, key, s3_version, row_id)
)
SELECT count(*) FILTER (WHERE fresh = (revision = 1)) FROM kept

-- name: witness
-- Adds what another source tells of a finding that it does not change, such as who did it. Sets no state.
UPDATE reconciler.finding AS f SET named_by = f.named_by || c.named_by, evidence = f.evidence || c.evidence
FROM jsonb_to_recordset(%(told)s) AS c (id bigint, named_by text, evidence jsonb)
WHERE f.id = c.id AND f.closed_at IS NULL AND c.named_by <> ALL (f.named_by)

-- name: ask
INSERT INTO reconciler.look AS l (bucket, key, s3_version, due_at, attempt, asks, reason, evidence)
SELECT bucket, key, s3_version, now() + after_s * interval '1 second', attempt, 1, reason, evidence
FROM jsonb_to_recordset(%(looks)s) AS c (
    bucket text COLLATE "C", key text COLLATE "C", s3_version text COLLATE "C", after_s double precision,
    attempt integer, reason text, evidence jsonb)
ON CONFLICT (key, bucket, s3_version) DO UPDATE SET
    asks = l.asks + 1, due_at = least(l.due_at, excluded.due_at), evidence = l.evidence || excluded.evidence

-- name: look_again
-- It counts as an ask: whoever read the look before this must not end it.
INSERT INTO reconciler.look AS l (bucket, key, s3_version, due_at, attempt, asks, reason, evidence)
SELECT bucket, key, s3_version, now() + after_s * interval '1 second', attempt, asks, reason, evidence
FROM jsonb_to_recordset(%(looks)s) AS c (
    bucket text COLLATE "C", key text COLLATE "C", s3_version text COLLATE "C", after_s double precision,
    attempt integer, asks integer, reason text, evidence jsonb)
ON CONFLICT (key, bucket, s3_version) DO UPDATE SET
    due_at = CASE WHEN l.asks = excluded.asks THEN excluded.due_at ELSE least(l.due_at, excluded.due_at) END,
    attempt = excluded.attempt, asks = l.asks + 1, reason = excluded.reason,
    evidence = l.evidence || excluded.evidence

-- name: looked
-- The look that a deletion keeps for its grace is not ended before that by its own event (a claimed look is due in a minute);
-- nor is one of a finding that somebody else has kept since, whose look may count as many asks as the one that was read.
DELETE FROM reconciler.look AS l
USING jsonb_to_recordset(%(looks)s) AS c (
    bucket text COLLATE "C", key text COLLATE "C", s3_version text COLLATE "C", asks integer)
WHERE l.key = c.key AND l.bucket = c.bucket AND l.s3_version = c.s3_version AND l.asks = c.asks
  AND NOT (l.reason = 'deleted' AND l.due_at > now() + interval '1 minute')
  AND NOT EXISTS (SELECT FROM reconciler.finding AS f WHERE f.key = l.key AND f.bucket = l.bucket
                  AND f.s3_version = l.s3_version AND f.closed_at IS NULL)

-- name: due
-- Claims looks by moving them forward: a visibility time-out, so that no transaction stays open during the HEADs.
UPDATE reconciler.look AS l SET due_at = now() + interval '1 minute'
FROM (
    SELECT key, bucket, s3_version FROM reconciler.look
    WHERE due_at <= now() AND bucket <> ALL (%(unreadable)s)
    ORDER BY due_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
) AS d
WHERE l.key = d.key AND l.bucket = d.bucket AND l.s3_version = d.s3_version
RETURNING l.bucket, l.key, l.s3_version, l.reason, l.evidence

-- name: due_among
-- The same, of these references alone.
UPDATE reconciler.look AS l SET due_at = now() + interval '1 minute'
FROM (
    SELECT l.key, l.bucket, l.s3_version FROM reconciler.look AS l
    JOIN jsonb_to_recordset(%(refs)s) AS c (bucket text, key text, s3_version text)
      ON l.key = c.key COLLATE "C" AND l.bucket = c.bucket COLLATE "C" AND l.s3_version = c.s3_version COLLATE "C"
    WHERE l.due_at <= now() AND l.bucket <> ALL (%(unreadable)s)
    ORDER BY l.due_at LIMIT %(limit)s FOR UPDATE OF l SKIP LOCKED
) AS d
WHERE l.key = d.key AND l.bucket = d.bucket AND l.s3_version = d.s3_version
RETURNING l.bucket, l.key, l.s3_version, l.reason, l.evidence

-- name: unreadable
SELECT bucket, until <= now() AS probe FROM reconciler.restraint WHERE effect = 'unreadable' AND lifted_at IS NULL

-- name: probe
-- One look of an unreadable bucket goes out a back-off; the next probe waits twice as long, up to ten minutes.
WITH chosen AS (
    SELECT key, bucket, s3_version FROM reconciler.look WHERE bucket = %(bucket)s
    ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED
), moved AS (
    UPDATE reconciler.restraint SET until = now() + least(greatest(now() - since, interval '5 seconds'), interval '10 minutes')
    WHERE effect = 'unreadable' AND lifted_at IS NULL AND bucket = %(bucket)s AND until <= now()
    RETURNING bucket
)
UPDATE reconciler.look AS l SET due_at = now() + interval '1 minute'
FROM chosen AS d JOIN moved USING (bucket)
WHERE l.key = d.key AND l.bucket = d.bucket AND l.s3_version = d.s3_version
RETURNING l.bucket, l.key, l.s3_version, l.reason, l.evidence

-- name: restrain
INSERT INTO reconciler.restraint (effect, bucket, kind, until, actor, why)
VALUES (%(effect)s, %(bucket)s, %(kind)s, now() + %(until_s)s * interval '1 second', %(actor)s, %(why)s)
ON CONFLICT (effect, bucket, (coalesce(kind, ''))) WHERE lifted_at IS NULL AND effect IN ('brake', 'unreadable')
DO NOTHING
RETURNING id

-- name: lift
UPDATE reconciler.restraint SET lifted_at = now(), lifted_by = %(actor)s
WHERE effect = %(effect)s AND lifted_at IS NULL AND (bucket = ANY (%(buckets)s) OR %(everywhere)s)
  AND (kind = ANY (%(kinds)s) OR %(kinds)s::text[] IS NULL)
RETURNING id, bucket, kind, since, why

-- name: take_brake
-- Waits in turn for longer than for a row: only our own transactions have it, and no row is locked yet.
WITH before AS MATERIALIZED (SELECT current_setting('lock_timeout') AS lock_timeout)
SELECT set_config('lock_timeout', '2s', true), pg_advisory_xact_lock(%(lock)s), set_config('lock_timeout', lock_timeout, true)
FROM before

-- name: brakes
SELECT kind, bucket FROM reconciler.restraint WHERE effect = 'brake' AND lifted_at IS NULL

-- name: set_by_hand
SELECT id, effect, bucket, kind, pattern, until - now() FROM reconciler.restraint
WHERE effect = ANY (%(effects)s) AND lifted_at IS NULL AND (until > now() OR until IS NULL)
ORDER BY id

-- name: recent
-- What a person released is not counted: it has an act of its own, or is marked; a release begins the count anew.
WITH counted AS (
    SELECT CASE WHEN h.act = 'purged' THEN 'purge' WHEN f.kind IN ('orphan', 'leftover') THEN 'orphan' ELSE 'missing' END
               AS kind, f.bucket, h.at
    FROM reconciler.history AS h JOIN reconciler.finding AS f ON f.id = h.finding_id
    WHERE h.at > now() - %(window)s AND h.act = ANY (%(acts)s)
      AND (h.act = 'flagged' OR f.held_by IS DISTINCT FROM 'released'
           AND (h.act = 'purged' OR f.kind IN ('orphan', 'leftover')))
)
SELECT kind, bucket, count(*) FROM counted AS c
WHERE NOT EXISTS (
    SELECT FROM reconciler.restraint AS r
    WHERE r.effect = 'brake' AND r.kind = c.kind AND r.bucket IN ('', c.bucket) AND r.lifted_at > c.at)
GROUP BY 1, 2

-- name: live_rows
SELECT lower, (tally ->> 'live')::bigint FROM reconciler.lease WHERE task = 'live_rows'

-- name: keep_live_rows
INSERT INTO reconciler.lease (task, lower, tally, owner, until)
VALUES ('live_rows', %(bucket)s, jsonb_build_object('live', %(live)s::bigint, 'flagged', %(flagged)s::bigint, 'at', now()), %(owner)s, now())
ON CONFLICT (task, lower) DO UPDATE SET tally = excluded.tally, owner = excluded.owner, until = excluded.until

-- name: forget_live_rows
DELETE FROM reconciler.lease WHERE task = 'live_rows' AND lower <> ALL (%(buckets)s::text[])

-- name: free_held
-- What carries our flag already is held from its purge.
WITH freed AS (
    UPDATE reconciler.finding SET held_by = 'released', revision = revision + 1
    WHERE held_by = 'brake' AND closed_at IS NULL
      AND CASE WHEN kind IN ('orphan', 'leftover') THEN 'orphan' WHEN previous_status IS NOT NULL THEN 'purge'
               ELSE 'missing' END = ANY (%(kinds)s)
    RETURNING id, bucket, key, s3_version, state, revision
), told AS (
    INSERT INTO reconciler.history
        (finding_id, subject, actor, act, from_state, to_state, why, revision, published_at)
    SELECT id, bucket || '/' || key, %(actor)s, 'released', state, state, %(why)s, revision,
           (SELECT reconciler.published_unless_wanted())
    FROM freed
), looks AS (
    INSERT INTO reconciler.look AS l (bucket, key, s3_version, due_at, reason)
    SELECT DISTINCT bucket, key, s3_version, now(), 'released' FROM freed
    ON CONFLICT (key, bucket, s3_version) DO UPDATE SET asks = l.asks + 1, due_at = least(l.due_at, excluded.due_at)
)
SELECT count(*) FROM freed

-- name: is_standby
SELECT pg_is_in_recovery()

-- name: take_lease
INSERT INTO reconciler.lease AS l (task, lower, owner, until)
VALUES (%(task)s, '', %(owner)s, now() + %(until_s)s * interval '1 second')
ON CONFLICT (task, lower) DO UPDATE SET owner = excluded.owner, until = excluded.until
    WHERE l.owner = excluded.owner OR l.until <= now()
RETURNING checkpoint

-- name: is_leased
SELECT FROM reconciler.lease WHERE task = %(task)s AND owner IS NOT NULL AND until > now()

-- name: advance_lease
UPDATE reconciler.lease SET checkpoint = %(checkpoint)s, until = now() + %(until_s)s * interval '1 second'
WHERE task = %(task)s AND lower = '' AND owner = %(owner)s AND until > now()
RETURNING task

-- name: renew_leases
-- What is locked is being renewed, or given away, by the owner itself.
UPDATE reconciler.lease AS l SET until = now() + %(until_s)s * interval '1 second'
FROM (
    SELECT task, lower FROM reconciler.lease
    WHERE owner = %(owner)s AND until > now() AND NOT tally ? 'done' FOR UPDATE SKIP LOCKED
) AS mine
WHERE l.task = mine.task AND l.lower = mine.lower

-- name: drop_lease
UPDATE reconciler.lease SET until = now() WHERE task = %(task)s AND owner = %(owner)s
