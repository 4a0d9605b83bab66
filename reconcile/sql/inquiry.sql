-- What a person asks of the schema `reconciler`: reads only. `{matching}` is the filter below.

-- name: principal
-- Who did what is wrong now: deleted what is missing, stored what is there. An event of the other kind is an older one.
CASE WHEN (f.kind = 'missing') = NOT starts_with(f.evidence ->> 'event', 's3:ObjectCreated') THEN f.evidence ->> 'principal' END

-- name: cause
-- Causes that differ in a number or a name only are one.
regexp_replace(regexp_replace(regexp_replace(
    f.cause, '^(size|etag): .*', '\1 differs'), 'delete marker \S+:', 'a delete marker:'), '^row \S+ ', 'its row ')

-- name: matching
(f.closed_at IS NULL AND %(states)s::text[] IS NULL OR f.state = ANY (%(states)s::text[]))
AND (%(kinds)s::text[] IS NULL OR f.kind = ANY (%(kinds)s::text[]))
AND (%(bucket)s::text IS NULL OR f.bucket = %(bucket)s::text)
AND (%(keys)s::text[] IS NULL OR f.key = ANY (%(keys)s::text[]))
AND (%(prefix)s::text IS NULL OR starts_with(f.key, %(prefix)s::text))
AND (%(group)s::text IS NULL OR f.group_name = %(group)s::text)
AND (%(owner)s::text IS NULL OR f.owner = %(owner)s::text)
AND (%(cause)s::text IS NULL OR position(lower(%(cause)s::text) IN lower(f.cause)) > 0)
AND (%(principal)s::text IS NULL OR {principal} = %(principal)s::text)
AND (%(since)s::timestamptz IS NULL OR f.suspected_at >= %(since)s::timestamptz)
AND (NOT %(held)s::boolean OR f.held_by = 'brake')
AND (%(before)s::timestamptz IS NULL
     OR coalesce((f.evidence -> 'object' ->> 'modified')::timestamptz, f.suspected_at) <= %(before)s::timestamptz)
AND (%(least_bytes)s::bigint IS NULL OR f.size_bytes >= %(least_bytes)s::bigint)

-- name: findings
SELECT f.id, f.kind, f.state, f.bucket, f.key, nullif(f.row_id, '') AS version_id, f.cause, f.group_name, f.owner,
       f.size_bytes, f.suspected_at, f.opened_at, f.closed_at, f.held_by, f.previous_status, f.s3_version, f.file_id,
       f.etag, {principal} AS principal, f.evidence ->> 'source_address' AS source_address, f.named_by
FROM reconciler.finding AS f
WHERE (%(after)s::bigint IS NULL OR f.id < %(after)s::bigint) AND {matching}
ORDER BY f.id DESC LIMIT %(limit)s

-- name: chosen
-- In the order of their ids, so that an act on them goes on where the last page ended, whatever it made of that.
SELECT f.id, f.bucket, f.key, f.s3_version, f.row_id, f.kind, f.state FROM reconciler.finding AS f
WHERE f.id > %(after)s AND f.id <= %(upto)s AND (f.id = ANY (%(ids)s::bigint[]) OR %(ids)s::bigint[] IS NULL AND {matching})
ORDER BY f.id LIMIT 1000

-- name: purgeable
-- Missing versions that carry our flag, and since when; by id whatever they are.
SELECT f.id, f.bucket, f.key, f.s3_version, f.row_id, f.state, f.held_by, flag.since
FROM reconciler.finding AS f CROSS JOIN LATERAL (
    SELECT coalesce(max(h.at), f.opened_at) AS since FROM reconciler.history AS h
    WHERE h.finding_id = f.id AND h.act IN ('flagged', 'flagged after release', 'adopted')
) AS flag
WHERE f.id > %(after)s AND (f.id = ANY (%(ids)s::bigint[]) OR %(ids)s::bigint[] IS NULL
    AND f.kind = 'missing' AND f.state = 'open' AND f.previous_status IS NOT NULL AND flag.since <= now() - %(older)s::interval AND {matching})
ORDER BY f.id LIMIT 1000

-- name: may_delete
SELECT has_table_privilege(%(table)s, 'DELETE')

-- name: newest
SELECT coalesce(max(f.id), 0) FROM reconciler.finding AS f

-- name: how_many
SELECT count(*) FROM reconciler.finding AS f WHERE {matching}

-- name: grouped
-- A principal is named with what it did.
WITH named AS (
    SELECT f.*, CASE %(by)s::text
        WHEN 'prefix' THEN substring(f.key FROM '^(?:[^/]*/){{1,' || %(depth)s::int || '}}')
        WHEN 'owner' THEN f.owner
        WHEN 'principal' THEN {principal}
        WHEN 'group' THEN f.group_name
        WHEN 'bucket' THEN f.bucket
        WHEN 'kind' THEN f.kind
        WHEN 'state' THEN f.state
        WHEN 'cause' THEN {cause}
    END AS name
    FROM reconciler.finding AS f
    WHERE {matching}
)
SELECT coalesce(name, ''),
       CASE WHEN %(by)s::text <> 'principal' OR name IS NULL THEN '' WHEN kind = 'missing' THEN 'deleted' ELSE 'stored' END,
       count(*), count(*) FILTER (WHERE state = 'suspected'), count(*) FILTER (WHERE state = 'open'),
       count(*) FILTER (WHERE held_by = 'brake'), sum(size_bytes)::bigint, min(suspected_at), max(suspected_at)
FROM named
GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2 LIMIT %(limit)s

-- name: finding
SELECT f.id, f.kind, f.state, f.cause, f.bucket, f.key, nullif(f.s3_version, '') AS s3_version,
       nullif(f.row_id, '') AS version_id, f.file_id, f.group_name, f.owner, f.size_bytes, f.etag, f.previous_status,
       f.held_by, f.named_by, f.suspected_at, f.opened_at, f.closed_at, l.due_at AS next_look_at,
       l.reason AS next_look_reason, f.evidence
FROM reconciler.finding AS f
LEFT JOIN reconciler.look AS l USING (key, bucket, s3_version)
WHERE f.id = %(id)s

-- name: history
SELECT h.at, h.act, h.from_state, h.to_state, h.actor, h.why, h.evidence ->> 'named_by', h.evidence -> 'object' ->> 'seen'
FROM reconciler.history AS h
WHERE h.finding_id = ANY (%(ids)s::bigint[])
ORDER BY h.id DESC LIMIT 50

-- name: of_key
SELECT f.id, f.kind, f.state, f.cause, nullif(f.row_id, ''), f.suspected_at, f.opened_at, f.closed_at, f.held_by
FROM reconciler.finding AS f
WHERE f.key = %(key)s AND f.bucket = %(bucket)s AND (f.s3_version = %(s3_version)s OR f.row_id <> '')
ORDER BY f.closed_at IS NOT NULL, f.id DESC LIMIT 20

-- name: look
SELECT l.due_at, l.reason, l.attempt FROM reconciler.look AS l
WHERE l.key = %(key)s AND l.bucket = %(bucket)s AND l.s3_version = %(s3_version)s

-- name: of_row
SELECT DISTINCT f.bucket, f.key, f.s3_version FROM reconciler.finding AS f WHERE f.row_id = %(row_id)s AND f.closed_at IS NULL

-- name: buckets
SELECT DISTINCT f.bucket FROM reconciler.finding AS f WHERE f.key = %(key)s
UNION SELECT l.bucket FROM reconciler.look AS l WHERE l.key = %(key)s

-- name: drift
SELECT f.kind, count(*) FILTER (WHERE f.state = 'suspected'), count(*) FILTER (WHERE f.state = 'open'),
       count(*) FILTER (WHERE f.previous_status IS NOT NULL), count(*) FILTER (WHERE f.held_by = 'brake'),
       count(*) FILTER (WHERE f.held_by = 'refused'), count(*) FILTER (WHERE f.state IN ('ignored', 'approved')),
       count(*) FILTER (WHERE f.kind = 'missing' AND f.state = 'open' AND f.row_id <> '' AND f.previous_status IS NULL),
       sum(f.size_bytes)::bigint, min(f.suspected_at)
FROM reconciler.finding AS f
WHERE f.closed_at IS NULL
GROUP BY f.kind ORDER BY array_position(ARRAY['missing', 'mismatch', 'orphan', 'leftover'], f.kind)

-- name: drift_by_group
SELECT coalesce(f.group_name, ''), count(*) FILTER (WHERE f.kind = 'missing'), count(*) FILTER (WHERE f.kind = 'mismatch'),
       count(*)
FROM reconciler.finding AS f
WHERE f.closed_at IS NULL AND f.row_id <> '' AND f.state IN ('suspected', 'open')
GROUP BY 1 ORDER BY 4 DESC, 1 LIMIT 10

-- name: looks
SELECT count(*), count(*) FILTER (WHERE due_at <= now()), min(due_at) FROM reconciler.look

-- name: outbox
-- Whether changes of findings are published, how many wait, and since when.
SELECT EXISTS (SELECT FROM reconciler.lease WHERE task = 'duty outbox' AND checkpoint = 'on'), count(*), min(h.at)
FROM reconciler.history AS h WHERE h.published_at IS NULL

-- name: restraints
SELECT r.id, r.effect, nullif(r.bucket, '') AS bucket, r.kind, r.since, r.until, r.actor, r.why, r.pattern
FROM reconciler.restraint AS r
WHERE r.lifted_at IS NULL AND r.effect = ANY (%(effects)s::text[]) ORDER BY r.id

-- name: held
SELECT f.bucket, CASE WHEN f.kind IN ('orphan', 'leftover') THEN 'orphan' WHEN f.previous_status IS NOT NULL THEN 'purge'
                ELSE 'missing' END, count(*)
FROM reconciler.finding AS f
WHERE f.held_by = 'brake' AND f.closed_at IS NULL
GROUP BY 1, 2 ORDER BY 1, 2

-- name: leases
SELECT l.task, l.owner, l.checkpoint, l.until FROM reconciler.lease AS l
WHERE l.task <> 'live_rows' AND l.until > now() ORDER BY l.task

-- name: sweeps
-- Of each bucket the last complete sweep; and what became of the latest one since, from the first that was not complete on.
-- A listing that a person brought may be of any time, so its sweep is none of these. One that is at work has not failed yet.
WITH own AS (
    SELECT s.id, s.bucket, s.prefix, s.state, s.started_at, s.reason
    FROM reconciler.sweep AS s WHERE s.kind = 'sweep' AND s.state <> 'wanted' AND NOT s.facts ? 'listing'
), latest AS (
    SELECT s.bucket, s.prefix, max(s.id) AS last, max(s.id) FILTER (WHERE s.state = 'complete') AS complete
    FROM own AS s GROUP BY 1, 2
)
SELECT g.bucket, nullif(g.prefix, '') AS prefix, c.started_at,
       c.missing + c.mismatch + c.orphans + c.leftovers + c.lookalikes,
       l.state, since.at, since.tries, nullif(l.reason, '')
FROM latest AS g
LEFT JOIN reconciler.sweeps AS c ON c.id = g.complete
LEFT JOIN own AS l ON l.id = g.last AND l.state <> 'complete'
LEFT JOIN LATERAL (
    SELECT min(s.started_at) AS at, nullif(count(*), 0) AS tries FROM own AS s
    WHERE s.bucket = g.bucket AND s.prefix = g.prefix AND s.id > coalesce(g.complete, 0)
      AND NOT (s.state = 'running' AND EXISTS (
          SELECT FROM reconciler.lease AS w WHERE w.task = 'sweep ' || s.id AND w.until > now()
      ))
) AS since ON true
ORDER BY g.bucket, g.prefix

-- name: meter
-- Of each bucket's last complete sweep what the loss meter says; it says nothing before the second one.
SELECT m.bucket, m.finished_at, (m.totals ->> 'lost_or_silent')::bigint, (m.totals ->> 'never_an_event')::bigint,
       (m.totals ->> 'unmeasured')::bigint
FROM (
    SELECT DISTINCT ON (s.bucket) s.bucket, s.finished_at, s.totals FROM reconciler.sweep AS s
    WHERE s.kind = 'sweep' AND s.state = 'complete' AND s.prefix = '' AND NOT s.facts ? 'listing'
    ORDER BY s.bucket, s.id DESC
) AS m
WHERE m.totals ? 'lost_or_silent'
ORDER BY m.bucket

-- name: scrubs
-- Of each bucket the last complete cycle with what it found, and how far the one is that has begun since.
WITH latest AS (
    SELECT s.bucket, s.prefix, max(s.id) FILTER (WHERE s.state = 'complete') AS complete,
           max(s.id) FILTER (WHERE s.state = 'running') AS running
    FROM reconciler.sweep AS s WHERE s.kind = 'scrub' GROUP BY 1, 2
)
SELECT g.bucket, nullif(g.prefix, '') AS prefix, c.finished_at, coalesce((c.totals ->> 'objects')::bigint, 0),
       coalesce((c.totals ->> 'mismatch')::bigint, 0), coalesce((c.totals ->> 'missing')::bigint, 0),
       r.started_at, (l.tally ->> 'objects')::bigint, (l.tally ->> 'mismatch')::bigint, nullif(l.checkpoint, '')
FROM latest AS g
LEFT JOIN reconciler.sweep AS c ON c.id = g.complete
LEFT JOIN reconciler.sweep AS r ON r.id = g.running
LEFT JOIN reconciler.lease AS l ON l.task = 'sweep ' || g.running
WHERE g.complete IS NOT NULL OR g.running IS NOT NULL
ORDER BY g.bucket, g.prefix

-- name: live_rows
SELECT nullif(l.lower, '') AS bucket, (l.tally ->> 'live')::bigint, (l.tally ->> 'at')::timestamptz,
       coalesce((l.tally ->> 'flagged')::bigint, 0)
FROM reconciler.lease AS l WHERE l.task = 'live_rows' ORDER BY l.lower

-- name: sightings
-- The newest findings that an event told of: when it was first kept, and when the event says it happened.
SELECT h.evidence ->> 'named_by', h.at, h.evidence ->> 'event_time'
FROM reconciler.history AS h
WHERE h.act = 'suspected' AND h.at > now() - interval '1 day' AND h.evidence ? 'event_time'
ORDER BY h.at DESC LIMIT 1000

-- name: acts
SELECT h.act, count(*), max(h.at) FROM reconciler.history AS h
WHERE h.at > now() - interval '1 day' AND h.act = ANY (%(acts)s::text[])
GROUP BY 1 ORDER BY 2 DESC, 1

-- name: target
-- MinIO's target that `init` named last for a bucket.
SELECT h.evidence ->> 'arn' FROM reconciler.history AS h
WHERE h.act = %(act)s AND h.subject = %(bucket)s AND h.evidence ? 'arn' ORDER BY h.at DESC LIMIT 1

-- name: decided
-- What was decided of dead letters; of each the highest id is the last.
SELECT h.subject, h.act, h.id FROM reconciler.history AS h WHERE h.act = ANY (%(acts)s::text[])

-- name: letters_decided
-- How many dead letters were dealt with; one that was decided twice is one.
SELECT count(DISTINCT h.subject) FROM reconciler.history AS h WHERE h.act = ANY (%(acts)s::text[])

-- name: drifting
-- Which of these rows have a finding that is not closed.
SELECT DISTINCT f.row_id FROM reconciler.finding AS f
WHERE f.row_id = ANY (%(row_ids)s::text[]) AND f.row_id <> '' AND f.closed_at IS NULL
