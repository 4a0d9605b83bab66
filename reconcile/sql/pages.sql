-- What the status page shows of sweeps and of the past: reads only, and never more than so many lines.

-- name: places
-- Where sweeps came to an end, the latest first.
SELECT s.bucket, s.prefix FROM reconciler.sweep AS s
WHERE s.kind = 'sweep' AND s.state NOT IN ('running', 'wanted')
GROUP BY 1, 2 ORDER BY max(s.id) DESC LIMIT %(most)s

-- name: latest
SELECT s.id, s.kind, s.bucket, nullif(s.prefix, '') AS prefix, s.mode, s.state, nullif(s.reason, '') AS reason, s.actor,
       s.started_at, s.finished_at, s.objects, s.rows, s.missing, s.mismatch, s.orphans, s.leftovers, s.healed
FROM reconciler.sweeps AS s WHERE s.state <> 'wanted' ORDER BY s.id DESC LIMIT %(most)s

-- name: days
-- By day what opened and what closed, of the newest changes.
WITH newest AS (
    SELECT h.at, h.from_state, h.to_state FROM reconciler.history AS h
    WHERE h.at > now() - interval '30 days' ORDER BY h.at DESC LIMIT %(most)s
)
SELECT (n.at AT TIME ZONE 'UTC')::date, count(*) FILTER (WHERE n.to_state = 'open' AND n.from_state IS DISTINCT FROM 'open'),
       count(*) FILTER (WHERE n.from_state = 'open' AND n.to_state <> 'open'), count(*)
FROM newest AS n GROUP BY 1 ORDER BY 1
