-- Ignore rules, as a person sets and lifts them. One that is over, or lifted, is closed once what it held is reopened.

-- name: add
INSERT INTO reconciler.restraint (effect, bucket, kind, pattern, until, actor, why)
VALUES ('ignore', %(bucket)s, %(kind)s, %(pattern)s, %(until)s, %(actor)s, %(why)s)
RETURNING id

-- name: set
-- Each with how many findings it holds.
SELECT r.id, r.bucket, r.kind, r.pattern, r.since, r.until, r.actor, r.why, r.until <= now(), r.lifted_at, r.lifted_by,
       (SELECT count(*) FROM reconciler.finding AS f WHERE f.held_by = 'rule ' || r.id AND f.closed_at IS NULL)
FROM reconciler.restraint AS r
WHERE r.effect = 'ignore' AND (r.lifted_at IS NULL OR %(all)s) ORDER BY r.id

-- name: stop
UPDATE reconciler.restraint SET until = now(), lifted_by = %(actor)s
WHERE id = %(id)s AND effect = 'ignore' AND lifted_at IS NULL AND until > now()
RETURNING bucket, pattern, since, why

-- name: over
-- Also one that is closed and holds something: whoever had read it before, and was about to commit, took no lock.
SELECT r.id FROM reconciler.restraint AS r
WHERE r.effect = 'ignore' AND r.until <= now() AND (r.lifted_at IS NULL OR EXISTS (
    SELECT FROM reconciler.finding AS f WHERE f.held_by = 'rule ' || r.id AND f.closed_at IS NULL))
ORDER BY r.id

-- name: held
-- A page of the findings that a rule holds.
SELECT f.id, f.bucket, f.key, f.s3_version, f.row_id FROM reconciler.finding AS f
WHERE f.held_by = %(rule)s AND f.closed_at IS NULL AND f.id > %(after)s ORDER BY f.id LIMIT 1000

-- name: close
UPDATE reconciler.restraint SET lifted_at = now(), lifted_by = coalesce(lifted_by, %(actor)s)
WHERE id = %(id)s AND lifted_at IS NULL
