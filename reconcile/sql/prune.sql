-- What deletes what is past its retention, so many at a time: no statement lasts long, however much there is.

-- name: history
-- The next page of it, from an id on. Also what was never published: the retention is how long a findings topic may be
-- away. Whether a deletion was undone is known for as long as its finding is kept, or it would be undone once more.
WITH page AS MATERIALIZED (
    SELECT id, at FROM reconciler.history WHERE id > %(after)s ORDER BY id LIMIT %(most)s
), pruned AS (
    DELETE FROM reconciler.history AS h USING page AS p
    WHERE h.id = p.id AND p.at < now() - %(older)s
      AND NOT EXISTS (
          SELECT FROM reconciler.finding AS f
          WHERE f.id = h.finding_id AND (f.closed_at IS NULL
              OR f.closed_at >= now() - %(findings)s AND h.act IN ('deletion begun', 'deletion undone')))
    RETURNING h.published_at
)
SELECT (SELECT count(*) FROM pruned), (SELECT count(*) FROM pruned WHERE published_at IS NULL),
       max(id), bool_or(at < now() - %(older)s)
FROM page

-- name: findings
-- Not those whose last change still waits to be published.
DELETE FROM reconciler.finding WHERE id IN (
    SELECT f.id FROM reconciler.finding AS f
    WHERE f.closed_at < now() - %(older)s
      AND NOT EXISTS (SELECT FROM reconciler.history AS h WHERE h.finding_id = f.id AND h.published_at IS NULL)
    LIMIT %(most)s)

-- name: restraints
DELETE FROM reconciler.restraint WHERE lifted_at < now() - %(older)s

-- name: sweeps
-- Never the last complete one of its bucket and prefix, one at work, nor a loss window that none has covered
-- and nobody has dismissed. What never came to its end goes with its ranges,
-- but for a scrub, which may take years, a little every night.
SELECT s.id FROM reconciler.sweep AS s
WHERE coalesce(s.finished_at, s.started_at) < now() - %(older)s
  AND NOT (s.state = 'wanted' AND s.finished_at IS NULL AND NOT EXISTS (
      SELECT FROM reconciler.sweep AS l
      WHERE l.bucket = s.bucket AND l.prefix = '' AND l.kind = 'sweep' AND l.state = 'complete'
        AND NOT l.facts ? 'listing' AND l.started_at > (s.facts ->> 'to')::timestamptz))
  AND NOT (s.state = 'complete' AND s.id = (
      SELECT max(l.id) FROM reconciler.sweep AS l
      WHERE l.bucket = s.bucket AND l.prefix = s.prefix AND l.kind = s.kind AND l.state = 'complete'
        AND NOT l.facts ? 'listing'))
  AND NOT (s.state = 'running' AND (s.kind = 'scrub' OR EXISTS (
      SELECT FROM reconciler.lease AS l WHERE l.task = 'sweep of ' || s.bucket AND l.until > now())))

-- name: drifts
DELETE FROM reconciler.drift WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM reconciler.drift WHERE sweep_id = %(id)s LIMIT %(most)s))

-- name: sweep
WITH pruned AS (DELETE FROM reconciler.sweep WHERE id = %(id)s RETURNING id)
DELETE FROM reconciler.lease AS l USING pruned WHERE l.task = 'sweep ' || pruned.id
