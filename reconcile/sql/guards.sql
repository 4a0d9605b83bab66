-- What an upload says of itself beforehand: a look that comes due when nobody puts it off any more.

-- name: intend
-- A look that is planned already waits, too: what it would see now is an upload in progress.
INSERT INTO reconciler.look AS l (bucket, key, due_at, asks, reason, evidence)
VALUES (%(bucket)s, %(key)s, now() + %(patience)s, 1, 'upload intended',
        jsonb_build_object('named_by', 'upload', 'intent', %(intent)s::jsonb || jsonb_build_object('at', now())))
ON CONFLICT (key, bucket, s3_version) DO UPDATE SET
    asks = l.asks + 1, due_at = greatest(l.due_at, excluded.due_at), evidence = l.evidence || excluded.evidence

-- name: put_off
UPDATE reconciler.look SET due_at = now() + %(patience)s
WHERE bucket = %(bucket)s AND key = %(key)s AND s3_version = '' AND evidence #>> '{intent,id}' = %(id)s

-- name: fulfilled
-- Whoever else asked for the look gets it, and at once.
WITH ended AS (
    DELETE FROM reconciler.look
    WHERE bucket = %(bucket)s AND key = %(key)s AND s3_version = '' AND evidence #>> '{intent,id}' = %(id)s AND asks = 1
    RETURNING key
)
UPDATE reconciler.look SET due_at = least(due_at, now()), evidence = evidence - 'intent'
WHERE bucket = %(bucket)s AND key = %(key)s AND s3_version = '' AND evidence #>> '{intent,id}' = %(id)s
  AND NOT EXISTS (SELECT FROM ended)
