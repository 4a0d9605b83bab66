-- What others read: the documented views (docs/views.md), each with a comment, and an index for what happened when.

CREATE INDEX history_by_time ON reconciler.history (at);

CREATE VIEW reconciler.corrupted AS
SELECT f.id, f.bucket, f.key, f.s3_version, f.row_id AS version_id, f.file_id, coalesce(f.group_name, '') AS group_name,
       f.owner, f.size_bytes, f.kind, f.cause, f.previous_status,
       (SELECT coalesce(max(h.at), f.opened_at) FROM reconciler.history AS h
        WHERE h.finding_id = f.id AND h.act IN ('flagged', 'flagged after release', 'adopted')) AS flagged_at
FROM reconciler.finding AS f
WHERE f.previous_status IS NOT NULL AND f.closed_at IS NULL;

CREATE VIEW reconciler.changes AS
SELECT h.id, h.at, h.act, h.from_state, h.to_state, h.actor, h.why, h.finding_id, coalesce(h.kind, f.kind) AS kind,
       coalesce(h.cause, f.cause) AS cause, f.bucket, f.key, f.s3_version, nullif(f.row_id, '') AS version_id,
       coalesce(f.group_name, '') AS group_name, f.owner, f.size_bytes,
       (h.to_state = 'open' AND h.from_state IS DISTINCT FROM 'open')::int
       - (h.from_state = 'open' AND h.to_state <> 'open')::int AS opens,
       h.evidence
FROM reconciler.history AS h JOIN reconciler.finding AS f ON f.id = h.finding_id
WHERE h.to_state IS NOT NULL;

CREATE VIEW reconciler.changes_by_day AS
SELECT (c.at AT TIME ZONE 'UTC')::date AS day, c.kind, c.group_name,
       count(*) FILTER (WHERE c.act = 'suspected') AS suspected,
       count(*) FILTER (WHERE c.opens = 1) AS opened,
       count(*) FILTER (WHERE c.act IN ('flagged', 'flagged after release')) AS flagged,
       count(*) FILTER (WHERE c.act = 'given back') AS given_back,
       count(*) FILTER (WHERE c.opens = -1 AND c.to_state = 'resolved' AND c.act <> 'purged') AS resolved,
       count(*) FILTER (WHERE c.act = 'purged') AS purged,
       count(*) FILTER (WHERE c.to_state = 'deleted') AS deleted,
       sum(c.opens)::bigint AS net
FROM reconciler.changes AS c
GROUP BY 1, 2, 3;

COMMENT ON VIEW reconciler.findings IS 'Every finding that is kept, also those that are closed.';
COMMENT ON VIEW reconciler.orphans IS 'Objects that no row names (orphan), or that a row says are gone (leftover), and that are not closed.';
COMMENT ON VIEW reconciler.corrupted IS 'Versions that carry our flag now.';
COMMENT ON VIEW reconciler.corrupted_by_group IS 'How many versions carry our flag now, by group.';
COMMENT ON VIEW reconciler.changes IS 'Every change of a finding that is kept: what, when, by whom, why, and of which object.';
COMMENT ON VIEW reconciler.changes_by_day IS 'How many findings were suspected, opened, flagged, given back, resolved, purged and deleted, by day (UTC), kind and group.';
COMMENT ON VIEW reconciler.sweeps IS 'Sweeps and scrubs with what each found, and the loss windows that want one.';
