-- Changes of findings that wait to be published: in the order of their ids, which is that of each finding's life.

-- name: waiting
SELECT h.id, f.id, h.revision, h.at, h.act, h.from_state, h.to_state, coalesce(h.kind, f.kind), coalesce(h.cause, f.cause),
       f.bucket, f.key, nullif(f.s3_version, ''), nullif(f.row_id, ''), f.file_id, f.group_name, f.owner, f.size_bytes,
       f.etag, h.actor, h.why, h.evidence
FROM reconciler.history AS h JOIN reconciler.finding AS f ON f.id = h.finding_id
WHERE h.published_at IS NULL ORDER BY h.id LIMIT %(limit)s

-- name: published
UPDATE reconciler.history SET published_at = now() WHERE id = ANY (%(ids)s::bigint[])

-- name: turn_on
INSERT INTO reconciler.lease (task, lower, checkpoint, owner, until) VALUES ('duty outbox', '', 'on', %(owner)s, now())
ON CONFLICT (task, lower) DO UPDATE SET checkpoint = 'on'
