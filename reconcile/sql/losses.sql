-- Loss windows: sweeps that are wanted. One is covered once a complete sweep of its bucket began after it; it is finished
-- where a person has dismissed it.

-- name: beat
-- One more heartbeat of a process, which its next commit of offsets carries.
INSERT INTO reconciler.lease AS l (task, lower, tally, owner, until)
VALUES ('heartbeat', %(owner)s, jsonb_build_object('beat', 1, 'at', now()), %(owner)s, now())
ON CONFLICT (task, lower) DO UPDATE SET until = excluded.until,
    tally = jsonb_build_object('beat', (l.tally ->> 'beat')::bigint + 1, 'at', now())
RETURNING (tally ->> 'beat')::bigint, (tally ->> 'at')::timestamptz

-- name: heartbeats
SELECT lower, (tally ->> 'beat')::bigint, (tally ->> 'at')::timestamptz FROM reconciler.lease WHERE task = 'heartbeat'

-- name: go_on_from
-- After the database went back: a process' heartbeat goes on where it was.
INSERT INTO reconciler.lease AS l (task, lower, tally, owner, until)
VALUES ('heartbeat', %(owner)s, jsonb_build_object('beat', %(beat)s::bigint, 'at', now()), %(owner)s, now())
ON CONFLICT (task, lower) DO UPDATE SET until = excluded.until, tally = l.tally || jsonb_build_object(
    'beat', greatest((l.tally ->> 'beat')::bigint, %(beat)s::bigint))

-- name: forget_heartbeats
-- Of processes that are long gone, and whose commits were followed by others'.
DELETE FROM reconciler.lease
WHERE task = 'heartbeat' AND lower <> ALL (%(named)s::text[]) AND until < now() - make_interval(secs => %(kept_s)s)

-- name: seen
SELECT checkpoint FROM reconciler.lease WHERE task = 'duty losses' AND lower = ''

-- name: extend
-- One that is wanted already for the same reason lasts longer.
UPDATE reconciler.sweep AS w SET facts = w.facts || jsonb_build_object(
    'to', %(to)s::timestamptz, 'times', (w.facts ->> 'times')::int + 1, 'detail', %(detail)s::text)
WHERE w.id = (
    SELECT max(s.id) FROM reconciler.sweep AS s
    WHERE s.state = 'wanted' AND s.bucket = %(bucket)s AND s.reason = %(reason)s AND s.finished_at IS NULL
      AND NOT EXISTS (
        SELECT FROM reconciler.sweep AS c
        WHERE c.bucket = s.bucket AND c.id <> s.id AND c.prefix = '' AND c.kind = 'sweep' AND c.state = 'complete'
          AND NOT c.facts ? 'listing' AND c.started_at > (s.facts ->> 'to')::timestamptz))
RETURNING w.id

-- name: want
INSERT INTO reconciler.sweep (bucket, mode, state, reason, actor, facts)
VALUES (%(bucket)s, 'report', 'wanted', %(reason)s, %(actor)s, jsonb_build_object(
    'from', %(from)s::timestamptz, 'to', %(to)s::timestamptz, 'times', 1, 'detail', %(detail)s::text))
RETURNING id

-- name: buckets
SELECT lower FROM reconciler.lease WHERE task = 'live_rows' AND lower <> ''

-- name: wanted
SELECT w.id, w.bucket, w.reason, (w.facts ->> 'from')::timestamptz, (w.facts ->> 'to')::timestamptz,
       (w.facts ->> 'times')::int, w.facts ->> 'detail'
FROM reconciler.sweep AS w
WHERE w.state = 'wanted' AND w.finished_at IS NULL AND NOT EXISTS (
    SELECT FROM reconciler.sweep AS c
    WHERE c.bucket = w.bucket AND c.prefix = '' AND c.kind = 'sweep' AND c.state = 'complete'
      AND NOT c.facts ? 'listing' AND c.started_at > (w.facts ->> 'to')::timestamptz)
ORDER BY w.id

-- name: dismiss
UPDATE reconciler.sweep SET finished_at = now() WHERE id = %(id)s AND state = 'wanted' AND finished_at IS NULL
RETURNING bucket, reason, facts
