-- A finding's first change comes from no state: it opens or closes nothing, which is 0 and not unknown.

CREATE OR REPLACE VIEW reconciler.changes AS
SELECT h.id, h.at, h.act, h.from_state, h.to_state, h.actor, h.why, h.finding_id, coalesce(h.kind, f.kind) AS kind,
       coalesce(h.cause, f.cause) AS cause, f.bucket, f.key, f.s3_version, nullif(f.row_id, '') AS version_id,
       coalesce(f.group_name, '') AS group_name, f.owner, f.size_bytes,
       (h.to_state = 'open' AND h.from_state IS DISTINCT FROM 'open')::int
       - (h.from_state IS NOT DISTINCT FROM 'open' AND h.to_state <> 'open')::int AS opens,
       h.evidence
FROM reconciler.history AS h JOIN reconciler.finding AS f ON f.id = h.finding_id
WHERE h.to_state IS NOT NULL;
