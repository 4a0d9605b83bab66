-- Every statement of the sweep over the schema `reconciler`, by name.

-- name: begin
INSERT INTO reconciler.sweep (bucket, prefix, mode, state, actor, facts)
VALUES (%(bucket)s, %(prefix)s, %(mode)s, 'running', %(actor)s, %(facts)s)
RETURNING id, started_at

-- name: cut
-- The ranges (lower, upper] of a sweep, once.
INSERT INTO reconciler.lease (task, lower, upper, checkpoint, owner, until)
SELECT %(task)s, lower, upper, lower, '', now()
FROM unnest(%(lowers)s::text[], %(uppers)s::text[]) AS r (lower, upper)
ON CONFLICT (task, lower) DO NOTHING

-- name: one
SELECT id, bucket, prefix, mode, state, reason, facts, totals, started_at, finished_at
FROM reconciler.sweep WHERE id = %(id)s

-- name: believe
UPDATE reconciler.sweep SET reason = %(reason)s WHERE id = %(id)s AND state = 'running'

-- name: doubt
-- What was seen before a sweep stood still may have healed meanwhile: it counts as sighted now, and is seen again later.
UPDATE reconciler.drift SET seen_again = false, sighted_at = now() WHERE sweep_id = %(id)s AND kind <> 'healed'

-- name: unfinished
-- The latest, unless a later one came to its end: what it saw is old then.
SELECT s.id FROM reconciler.sweep AS s
WHERE s.bucket = %(bucket)s AND s.kind = 'sweep' AND s.state = 'running' AND NOT EXISTS (
    SELECT FROM reconciler.sweep AS l
    WHERE l.bucket = s.bucket AND l.prefix = s.prefix AND l.kind = s.kind AND l.id > s.id AND l.state = 'complete')
ORDER BY s.id DESC LIMIT 1

-- name: last_complete
-- Of the bucket as it was then: a listing that a person brought may be of any time.
SELECT id, started_at, totals FROM reconciler.sweep
WHERE bucket = %(bucket)s AND prefix = %(prefix)s AND kind = 'sweep' AND state = 'complete' AND id <> %(id)s
  AND NOT facts ? 'listing'
ORDER BY id DESC LIMIT 1

-- name: past
SELECT v.id, v.started_at, v.state, coalesce(v.objects, 0), coalesce(v.rows, 0), coalesce(v.missing, 0),
       coalesce(v.mismatch, 0), coalesce(v.orphans, 0), coalesce(v.leftovers, 0), s.facts ? 'listing',
       (v.totals ->> 'lost_or_silent')::bigint
FROM reconciler.sweeps AS v JOIN reconciler.sweep AS s ON s.id = v.id
WHERE v.bucket = %(bucket)s AND v.prefix = %(prefix)s AND v.kind = 'sweep' AND v.state NOT IN ('running', 'wanted')
ORDER BY v.id DESC LIMIT 60

-- name: take
-- A range that nobody has, or whose owner is gone; one that is ours already was given to us, and we were not told.
UPDATE reconciler.lease AS l SET owner = %(owner)s, until = now() + %(until_s)s * interval '1 second'
FROM (
    SELECT lower FROM reconciler.lease
    WHERE task = %(task)s AND NOT tally ? 'done' AND (until <= now() OR owner = %(owner)s)
    ORDER BY lower LIMIT 1 FOR UPDATE SKIP LOCKED
) AS free
WHERE l.task = %(task)s AND l.lower = free.lower
RETURNING l.lower, l.upper, l.checkpoint, l.tally

-- name: lead
-- Whether the sweep, and the bucket's lease, are still ours; the lease is kept.
WITH kept AS (
    UPDATE reconciler.lease SET until = now() + %(until_s)s * interval '1 second'
    WHERE task = %(bucket_task)s AND lower = '' AND owner = %(owner)s AND until > now() RETURNING task)
SELECT FROM kept, reconciler.sweep AS s WHERE s.id = %(id)s AND s.state = 'running'

-- name: advance
-- Checkpoint and totals in one, for whoever leads only while that is so: whether the range is ours, and the sweep.
WITH kept AS (
    UPDATE reconciler.lease SET until = now() + %(until_s)s * interval '1 second'
    WHERE %(leads)s AND task = %(bucket_task)s AND lower = '' AND owner = %(owner)s AND until > now() RETURNING task),
led AS (
    SELECT NOT %(leads)s OR EXISTS (
        SELECT FROM kept, reconciler.sweep AS s WHERE s.id = %(id)s AND s.state = 'running') AS is_so),
advanced AS (
    UPDATE reconciler.lease AS l SET checkpoint = %(checkpoint)s, tally = %(tally)s,
        until = CASE WHEN %(tally)s::jsonb ? 'done' THEN now() ELSE now() + %(until_s)s * interval '1 second' END
    FROM led
    WHERE led.is_so AND l.task = %(task)s AND l.lower = %(lower)s AND l.owner = %(owner)s AND l.until > now()
      AND NOT l.tally ? 'done' RETURNING l.task)
SELECT EXISTS (SELECT FROM advanced), is_so FROM led

-- name: let_go
UPDATE reconciler.lease SET until = now() WHERE owner = %(owner)s AND until > now()

-- name: ranges
SELECT count(*), count(*) FILTER (WHERE tally ? 'done'), coalesce(jsonb_agg(tally), '[]')
FROM reconciler.lease WHERE task = %(task)s

-- name: unread
SELECT lower, upper FROM reconciler.lease WHERE task = %(task)s AND NOT tally ? 'done' ORDER BY lower

-- name: keep_drifts
INSERT INTO reconciler.drift AS d (sweep_id, kind, bucket, key, s3_version, row_id, cause, size_bytes, group_name, owner,
                                   since, counterpart, known, seen_again)
SELECT %(id)s, kind, bucket, key, s3_version, row_id, cause, size_bytes, "group", owner, since, counterpart, known,
       false
FROM jsonb_to_recordset(%(drifts)s) AS c (
    kind text, bucket text, key text, s3_version text, row_id text, cause text, size_bytes bigint, "group" text,
    owner text, since timestamptz, counterpart text, known boolean)
ON CONFLICT (sweep_id, key, s3_version, row_id) DO UPDATE SET
    kind = excluded.kind, cause = excluded.cause, size_bytes = excluded.size_bytes, since = excluded.since,
    counterpart = excluded.counterpart, known = excluded.known, seen_again = d.seen_again OR %(seen_again)s

-- name: to_see_again
-- What was sighted but once, and all of it long enough ago; from a key on, in the order of the index.
SELECT min(bucket), key, s3_version FROM reconciler.drift
WHERE sweep_id = %(id)s AND NOT seen_again AND kind <> 'healed'
  AND (key, s3_version) >= (%(key)s COLLATE "C", %(s3_version)s COLLATE "C")
GROUP BY key, s3_version HAVING max(sighted_at) <= now() - %(margin_s)s * interval '1 second'
ORDER BY key, s3_version LIMIT 500

-- name: forget
-- What a second look did not see again as it was.
DELETE FROM reconciler.drift AS d
USING jsonb_to_recordset(%(refs)s) AS c (bucket text, key text, s3_version text)
WHERE d.sweep_id = %(id)s AND d.key = c.key COLLATE "C" AND d.bucket = c.bucket COLLATE "C"
  AND d.s3_version = c.s3_version COLLATE "C" AND NOT d.seen_again AND d.kind <> 'healed' AND NOT EXISTS (
    SELECT FROM jsonb_to_recordset(%(drifts)s) AS a (key text, s3_version text, row_id text, kind text, cause text)
    WHERE a.key = d.key COLLATE "C" AND a.s3_version = d.s3_version COLLATE "C" AND a.row_id = d.row_id COLLATE "C"
      AND a.kind = d.kind AND a.cause = d.cause)

-- name: pair
-- Of a key with `//` every place might be the row's, so only the row's side finds the other.
UPDATE reconciler.drift AS o SET kind = 'lookalike', counterpart = l.key, cause = 'orphan as it is written'
FROM reconciler.drift AS l
WHERE l.sweep_id = %(id)s AND l.kind = 'lookalike' AND l.counterpart <> ''
  AND o.sweep_id = %(id)s AND o.kind = 'orphan' AND o.key = l.counterpart COLLATE "C"

-- name: drifts
-- Those that were seen twice, each with whether the last complete sweep did not have it.
SELECT d.kind, d.bucket, d.key, d.s3_version, d.row_id, d.cause, d.size_bytes, d.group_name, d.owner, d.since,
       d.counterpart, o.sweep_id IS NULL, d.known, d.meter
FROM reconciler.drift AS d
LEFT JOIN reconciler.drift AS o ON o.sweep_id = %(last)s AND o.key = d.key AND o.s3_version = d.s3_version
     AND o.row_id = d.row_id AND o.kind = d.kind
WHERE d.sweep_id = %(id)s AND (d.seen_again AND d.kind <> 'healed' OR d.kind = 'healed' AND %(healed)s)
  AND (d.key, d.s3_version, d.row_id) > (%(key)s COLLATE "C", %(s3_version)s COLLATE "C", %(row_id)s COLLATE "C")
ORDER BY d.key, d.s3_version, d.row_id LIMIT 1000

-- name: meter
UPDATE reconciler.drift AS d SET meter = c.meter
FROM jsonb_to_recordset(%(meters)s) AS c (key text, s3_version text, row_id text, meter text)
WHERE d.sweep_id = %(id)s AND d.key = c.key COLLATE "C" AND d.s3_version = c.s3_version COLLATE "C"
  AND d.row_id = c.row_id COLLATE "C"

-- name: healed
-- What the last complete sweep had and this one has no more.
SELECT count(*) FROM reconciler.drift AS o
WHERE o.sweep_id = %(last)s AND o.kind <> 'healed' AND NOT EXISTS (
    SELECT FROM reconciler.drift AS d WHERE d.sweep_id = %(id)s AND d.key = o.key AND d.s3_version = o.s3_version
       AND d.row_id = o.row_id AND d.kind = o.kind)

-- name: finish
UPDATE reconciler.sweep SET state = %(state)s, reason = %(reason)s, totals = %(totals)s, finished_at = now()
WHERE id = %(id)s RETURNING finished_at

-- name: drop_ranges
DELETE FROM reconciler.lease WHERE task = %(task)s

-- name: open_findings
-- The third side: what is open between two keys is looked at, too.
SELECT DISTINCT f.bucket, f.key, f.s3_version FROM reconciler.finding AS f
WHERE f.bucket = %(bucket)s AND f.closed_at IS NULL AND f.key > %(lower)s COLLATE "C"
  AND (f.key <= %(upper)s COLLATE "C" OR %(upper)s::text IS NULL) AND starts_with(f.key, %(prefix)s)
ORDER BY f.key, f.s3_version LIMIT 1001

-- name: open_findings_of_key
-- Of a key with more versions than a page has room for.
SELECT DISTINCT f.bucket, f.key, f.s3_version FROM reconciler.finding AS f
WHERE f.bucket = %(bucket)s AND f.key = %(key)s COLLATE "C" AND f.closed_at IS NULL ORDER BY f.key, f.s3_version
