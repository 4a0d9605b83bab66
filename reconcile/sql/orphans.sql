-- Orphans and leftovers as a person works through them. `{matching}` is the filter of inquiry.sql.

-- name: page
-- By the bytes at stake, the most first.
SELECT f.id, f.state, f.kind, f.bucket, f.key, f.s3_version, f.size_bytes, f.etag,
       f.evidence -> 'object' ->> 's3_version' AS stored_version,
       (f.evidence -> 'object' ->> 'modified')::timestamptz AS modified_at,
       f.cause, f.suspected_at, f.opened_at, {principal} AS principal,
       f.evidence ->> 'source_address' AS source_address, f.named_by
FROM reconciler.finding AS f
WHERE {matching}
  AND (%(after)s::bigint IS NULL OR (coalesce(f.size_bytes, 0), f.id) < (coalesce(%(after_bytes)s::bigint, (
      SELECT a.size_bytes FROM reconciler.finding AS a WHERE a.id = %(after)s::bigint), 0), %(after)s::bigint))
ORDER BY coalesce(f.size_bytes, 0) DESC, f.id DESC LIMIT %(limit)s

-- name: sums
SELECT count(*), coalesce(sum(f.size_bytes), 0)::bigint FROM reconciler.finding AS f WHERE {matching}

-- name: groups
-- The groups with the most bytes, and one more for all the others.
WITH named AS (
    SELECT f.state, f.size_bytes, coalesce((f.evidence -> 'object' ->> 'modified')::timestamptz, f.suspected_at) AS at,
           coalesce(CASE %(by)s::text
               WHEN 'prefix' THEN substring(f.key FROM '^(?:[^/]*/){{1,' || %(depth)s::int || '}}')
               WHEN 'principal' THEN {principal}
               WHEN 'bucket' THEN f.bucket
               WHEN 'kind' THEN f.kind
               WHEN 'state' THEN f.state
           END, '') AS name
    FROM reconciler.finding AS f WHERE {matching}
), counted AS (
    SELECT name, count(*) AS orphans, count(*) FILTER (WHERE state = 'open') AS opened,
           count(*) FILTER (WHERE state = 'approved') AS approved, coalesce(sum(size_bytes), 0) AS bytes,
           min(at) AS oldest, max(at) AS newest
    FROM named GROUP BY name
), ranked AS (
    SELECT c.*, row_number() OVER (ORDER BY c.bytes DESC, c.orphans DESC, c.name) <= %(limit)s AS is_shown FROM counted AS c
)
SELECT CASE WHEN is_shown THEN name ELSE '(all others)' END, sum(orphans)::bigint, sum(opened)::bigint,
       sum(approved)::bigint, sum(bytes)::bigint, min(oldest), max(newest)
FROM ranked GROUP BY is_shown, CASE WHEN is_shown THEN name ELSE '(all others)' END
ORDER BY is_shown DESC, 5 DESC, 2 DESC, 1

-- name: evidence
-- What the object was seen to be, what was approved, and the deletion that was begun.
SELECT f.id, f.state, f.bucket, f.key, f.s3_version, f.size_bytes, f.etag, f.evidence -> 'object', f.evidence -> 'approved',
       f.evidence -> 'erasing'
FROM reconciler.finding AS f WHERE f.id = ANY (%(ids)s::bigint[])

-- name: lately
-- What was deleted within a time, and not brought back since.
SELECT f.id, f.state, f.bucket, f.key, f.s3_version, f.size_bytes, f.etag, f.evidence -> 'object', f.evidence -> 'approved',
       f.evidence -> 'erasing'
FROM reconciler.finding AS f
WHERE f.closed_at > now() - %(within)s::interval AND f.state = 'deleted' AND f.evidence -> 'erasing' <> 'null'
  AND (SELECT h.act FROM reconciler.history AS h
       WHERE h.finding_id = f.id AND h.act IN ('deletion begun', 'deletion undone')
       ORDER BY h.id DESC LIMIT 1) = 'deletion begun'
ORDER BY f.id

-- name: deleted_at
-- The last deletion at each of these keys.
SELECT DISTINCT ON (f.bucket, f.key) f.id, f.state, f.bucket, f.key, f.s3_version, f.size_bytes, f.etag,
       f.evidence -> 'object', f.evidence -> 'approved', f.evidence -> 'erasing'
FROM reconciler.finding AS f
WHERE f.key = ANY (%(keys)s::text[]) AND f.state = 'deleted' AND f.evidence -> 'erasing' <> 'null'
ORDER BY f.bucket, f.key, f.id DESC

-- name: undone
-- Those that were brought back and not deleted again.
SELECT f.id FROM unnest(%(ids)s::bigint[]) AS f (id)
WHERE (SELECT h.act FROM reconciler.history AS h
       WHERE h.finding_id = f.id AND h.act IN ('deletion begun', 'deletion undone')
       ORDER BY h.id DESC LIMIT 1) = 'deletion undone'

-- name: rows_known
-- Rows that are known to have named a key, from whatever was kept of them.
SELECT DISTINCT ON (bucket, key) bucket, key, row_id
FROM (
    SELECT f.bucket, f.key, f.row_id, f.suspected_at AS at FROM reconciler.finding AS f
    WHERE f.key = ANY (%(keys)s::text[]) AND f.row_id <> ''
    UNION ALL
    SELECT d.bucket, d.key, d.row_id, d.sighted_at FROM reconciler.drift AS d
    WHERE d.key = ANY (%(keys)s::text[]) AND d.row_id <> ''
) AS known
ORDER BY bucket, key, at DESC

-- name: swept
-- The sweeps that saw the key drift, the latest first.
SELECT d.sweep_id, s.started_at, d.kind, d.meter, d.seen_again
FROM reconciler.drift AS d JOIN reconciler.sweep AS s ON s.id = d.sweep_id
WHERE d.key = %(key)s AND d.bucket = %(bucket)s AND d.s3_version = %(s3_version)s
ORDER BY d.sweep_id DESC LIMIT 5
