-- What is exported as metrics, read every few seconds by whoever holds the lease. Reads only.

-- name: findings
SELECT f.kind, f.state, coalesce(f.group_name, ''), f.previous_status IS NOT NULL, f.held_by IS NOT DISTINCT FROM 'brake',
       count(*), coalesce(sum(f.size_bytes), 0)::bigint, count(*) FILTER (WHERE f.held_by = 'refused'),
       extract(epoch FROM min(f.suspected_at))::float8
FROM reconciler.finding AS f
WHERE f.closed_at IS NULL
GROUP BY 1, 2, 3, 4, 5

-- name: restraints
SELECT r.effect, coalesce(r.kind, ''), count(*)
FROM reconciler.restraint AS r
WHERE r.lifted_at IS NULL AND (r.effect IN ('brake', 'unreadable') OR r.until IS NULL OR r.until > now())
GROUP BY 1, 2

-- name: young
-- A checkpoint is a time, and perhaps the id of a row after it.
SELECT extract(epoch FROM now() - concat_ws(' ', split_part(checkpoint, ' ', 1), split_part(checkpoint, ' ', 2))::timestamptz)::float8
FROM reconciler.lease WHERE task = 'duty young' AND checkpoint <> ''

-- name: swept
-- Of each bucket's last complete sweep what the loss meter says, by kind and by age at its end, as in its report; a
-- listing that a person brought may be of any time.
SELECT s.bucket, d.kind,
       CASE WHEN d.since IS NULL THEN 'unknown' WHEN s.finished_at - d.since < %(today)s THEN 'today'
            WHEN s.finished_at - d.since < %(week)s THEN 'this week' ELSE 'older' END,
       d.meter, count(*)
FROM (SELECT DISTINCT ON (bucket) bucket, id, finished_at FROM reconciler.sweep
      WHERE kind = 'sweep' AND state = 'complete' AND prefix = '' AND NOT facts ? 'listing'
      ORDER BY bucket, id DESC) AS s
JOIN reconciler.drift AS d ON d.sweep_id = s.id AND d.seen_again AND d.kind <> 'healed'
GROUP BY 1, 2, 3, 4
