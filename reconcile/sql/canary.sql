-- The canary of each bucket: a lease's row that nobody holds, whose tally tells what was sent and what arrived. `sent` has the
-- times of the latest by number, `lanes` the latest arrival by lane, `judged` what became of it.

-- name: kept
SELECT lower, tally FROM reconciler.lease WHERE task = 'canary' ORDER BY lower

-- name: forget
-- Buckets that are not ours any more.
DELETE FROM reconciler.lease WHERE task = 'canary' AND lower <> ALL (%(buckets)s::text[]) RETURNING lower

-- name: send
-- Just before the deletion, whose arrival may be quicker than its answer; if that comes to nothing, it is left.
INSERT INTO reconciler.lease AS l (task, lower, tally, owner, until)
VALUES ('canary', %(bucket)s, jsonb_build_object(
    'number', %(number)s::bigint,
    'sent', jsonb_build_object(%(number)s::text, extract(epoch FROM clock_timestamp())::float8),
    'judged', jsonb_build_object('left', %(left)s::jsonb)), %(owner)s, now())
ON CONFLICT (task, lower) DO UPDATE SET owner = excluded.owner, tally = l.tally || jsonb_build_object(
    'number', %(number)s::bigint,
    'sent', (coalesce(l.tally -> 'sent', '{}') - %(forgotten)s::text) || (excluded.tally -> 'sent'),
    'judged', coalesce(l.tally -> 'judged', '{}') || (excluded.tally -> 'judged'))

-- name: arrived
-- Of the numbers that were told the latest that was sent: others may write below our prefix, another installation too.
UPDATE reconciler.lease AS l SET tally = l.tally || jsonb_build_object(
    'lanes', coalesce(l.tally -> 'lanes', '{}') || jsonb_build_object(%(lane)s::text, jsonb_build_object(
        'number', heard.number, 'at', extract(epoch FROM clock_timestamp())::float8,
        'took_s', greatest(extract(epoch FROM clock_timestamp())::float8 - (l.tally -> 'sent' ->> heard.number::text)::float8, 0))))
FROM (
    SELECT max(told.number) AS number
    FROM reconciler.lease AS k CROSS JOIN unnest(%(numbers)s::bigint[]) AS told (number)
    WHERE k.task = 'canary' AND k.lower = %(bucket)s AND (k.tally -> 'sent') ? told.number::text) AS heard
WHERE l.task = 'canary' AND l.lower = %(bucket)s AND (l.tally -> 'sent') ? heard.number::text
  AND coalesce((l.tally -> 'lanes' -> %(lane)s::text ->> 'number')::bigint, 0) < heard.number

-- name: judge
-- A lane that is new begins before what was sent last; one that is not listened to any more is forgotten.
INSERT INTO reconciler.lease AS l (task, lower, tally, owner, until)
VALUES ('canary', %(bucket)s, jsonb_build_object('judged', %(judged)s::jsonb), %(owner)s, now())
ON CONFLICT (task, lower) DO UPDATE SET owner = excluded.owner, tally = l.tally || excluded.tally || jsonb_build_object(
    'lanes', (SELECT jsonb_object_agg(lane, coalesce(
        l.tally -> 'lanes' -> lane, jsonb_build_object('number', greatest(coalesce((l.tally ->> 'number')::bigint, 0) - 1, 0))))
    FROM unnest(%(lanes)s::text[]) AS lane))
