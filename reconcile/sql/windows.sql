-- What a person sets and lifts: suppression windows. One that is over, or lifted, has its keys looked at, and is closed then.

-- name: add
INSERT INTO reconciler.restraint (effect, bucket, pattern, until, actor, why)
VALUES (%(effect)s, %(bucket)s, %(pattern)s, %(until)s, %(actor)s, %(why)s)
RETURNING id

-- name: set
SELECT r.id, r.bucket, r.pattern, r.since, r.until, r.actor, r.why, r.until <= now(), r.lifted_at, r.lifted_by
FROM reconciler.restraint AS r
WHERE r.effect = %(effect)s AND (r.lifted_at IS NULL OR %(all)s) ORDER BY r.id

-- name: stop
UPDATE reconciler.restraint SET until = now(), lifted_by = %(actor)s
WHERE id = %(id)s AND effect = %(effect)s AND lifted_at IS NULL AND (until > now() OR until IS NULL)
RETURNING bucket, pattern, since, why

-- name: over
SELECT id, bucket, pattern FROM reconciler.restraint
WHERE effect = %(effect)s AND lifted_at IS NULL AND until <= now() ORDER BY id

-- name: below
-- A page of the findings that are not closed, in one bucket or (an empty one) in all.
SELECT f.id, f.bucket, f.key, f.s3_version FROM reconciler.finding AS f
WHERE f.closed_at IS NULL AND f.id > %(after)s AND %(bucket)s IN ('', f.bucket) ORDER BY f.id LIMIT 1000

-- name: close
UPDATE reconciler.restraint SET lifted_at = now(), lifted_by = coalesce(lifted_by, %(actor)s)
WHERE id = %(id)s AND lifted_at IS NULL RETURNING id
