-- What happened from %(since)s on and before %(until)s: reads only. Changes are named `f`, as inquiry.sql's `{cause}` wants it.

-- name: flows
SELECT f.kind, {cause}, f.group_name,
       count(*) FILTER (WHERE f.act = 'suspected'),
       count(*) FILTER (WHERE f.from_state = 'suspected' AND f.to_state = 'resolved'),
       count(*) FILTER (WHERE f.opens = 1),
       count(*) FILTER (WHERE f.act IN ('flagged', 'flagged after release')),
       count(*) FILTER (WHERE f.act = 'given back'),
       count(*) FILTER (WHERE f.opens = -1 AND f.to_state = 'resolved' AND f.act <> 'purged'),
       count(*) FILTER (WHERE f.opens = -1 AND f.to_state IN ('ignored', 'approved')),
       count(*) FILTER (WHERE f.act = 'purged'),
       count(*) FILTER (WHERE f.to_state = 'deleted'),
       sum(f.opens)::bigint
FROM reconciler.changes AS f
WHERE f.at >= %(since)s AND f.at < %(until)s
GROUP BY 1, 2, 3

-- name: stock
-- What was open at the end: as a finding is now, or as its first change after that says it was.
WITH later AS (
    SELECT DISTINCT ON (h.finding_id) h.finding_id, h.from_state FROM reconciler.history AS h
    WHERE h.at >= %(until)s AND h.finding_id IS NOT NULL AND h.to_state IS NOT NULL
    ORDER BY h.finding_id, h.at, h.id
), were_open AS (
    SELECT coalesce(o.kind, n.kind) AS kind, coalesce(o.cause, n.cause) AS cause, coalesce(n.group_name, '') AS group_name,
           count(*) AS findings
    FROM reconciler.finding AS n
    LEFT JOIN later ON later.finding_id = n.id
    LEFT JOIN LATERAL (
        SELECT h.kind, h.cause FROM reconciler.history AS h
        WHERE later.finding_id IS NOT NULL AND h.finding_id = n.id AND h.at < %(until)s AND h.kind IS NOT NULL
        ORDER BY h.at DESC, h.id DESC LIMIT 1
    ) AS o ON true
    WHERE CASE WHEN later.finding_id IS NULL THEN n.state ELSE later.from_state END = 'open'
    GROUP BY 1, 2, 3
)
SELECT f.kind, {cause}, f.group_name, sum(f.findings)::bigint FROM were_open AS f GROUP BY 1, 2, 3

-- name: slots
SELECT floor(extract(epoch FROM c.at - %(since)s) / %(slot_s)s)::int, count(*) FILTER (WHERE c.opens = 1),
       count(*) FILTER (WHERE c.opens = -1)
FROM reconciler.changes AS c
WHERE c.at >= %(since)s AND c.at < %(until)s AND c.opens <> 0
GROUP BY 1 ORDER BY 1

-- name: suspicions
-- Findings that an event told of: by which way, when they were first kept, and when the event says it happened.
SELECT h.evidence ->> 'named_by', h.at, h.evidence ->> 'event_time'
FROM reconciler.history AS h
WHERE h.act = 'suspected' AND h.at >= %(since)s AND h.at < %(until)s AND h.evidence ? 'event_time'
ORDER BY h.at DESC LIMIT %(most)s

-- name: flaggings
-- The same of those that were flagged: when that was.
SELECT s.named_by, h.at, s.event_time
FROM reconciler.history AS h CROSS JOIN LATERAL (
    SELECT o.evidence ->> 'named_by' AS named_by, o.evidence ->> 'event_time' AS event_time FROM reconciler.history AS o
    WHERE o.finding_id = h.finding_id AND o.act = 'suspected' AND o.id < h.id ORDER BY o.id DESC LIMIT 1
) AS s
WHERE h.act = 'flagged' AND h.at >= %(since)s AND h.at < %(until)s AND s.event_time IS NOT NULL
ORDER BY h.at DESC LIMIT %(most)s

-- name: sweeps
-- Those that ended, and those that began and go on; `lost` is what the loss meter says.
SELECT s.id, s.bucket, nullif(s.prefix, ''), s.kind, s.mode, s.state, s.started_at, s.finished_at, s.objects, s.rows,
       s.missing, s.mismatch, s.orphans, s.leftovers, s.healed, m.lost, nullif(s.reason, '')
FROM reconciler.sweeps AS s CROSS JOIN LATERAL (
    SELECT count(*) AS lost FROM reconciler.drift AS d
    WHERE d.sweep_id = s.id AND d.seen_again AND d.meter = 'lost or silent'
) AS m
WHERE s.state <> 'wanted' AND coalesce(s.finished_at, s.started_at) >= %(since)s
  AND coalesce(s.finished_at, s.started_at) < %(until)s
ORDER BY s.started_at, s.id

-- name: losses
-- Windows in which the stream may have missed something, and when the sweep that covers one came to its end.
SELECT w.id, w.bucket, w.reason, (w.facts ->> 'from')::timestamptz, (w.facts ->> 'to')::timestamptz,
       (w.facts ->> 'times')::int, c.finished_at, w.finished_at, w.facts ->> 'detail'
FROM reconciler.sweep AS w LEFT JOIN LATERAL (
    SELECT min(s.finished_at) AS finished_at FROM reconciler.sweep AS s
    WHERE s.bucket = w.bucket AND s.prefix = '' AND s.kind = 'sweep' AND s.state = 'complete'
      AND NOT s.facts ? 'listing' AND s.started_at > (w.facts ->> 'to')::timestamptz
) AS c ON true
WHERE w.state = 'wanted' AND (w.facts ->> 'to')::timestamptz >= %(since)s AND (w.facts ->> 'from')::timestamptz < %(until)s
ORDER BY w.id

-- name: deeds
-- What persons did to findings. What a restore brought back has the restore's reason, which stands behind its way.
WITH done AS (
    SELECT CASE WHEN begun.why IS NULL THEN c.act ELSE 'restored' END AS act,
           CASE WHEN begun.why IS NULL THEN c.actor ELSE c.evidence ->> 'restored_by' END AS actor,
           CASE WHEN c.act = 'restore begun' OR begun.why IS NOT NULL
                THEN regexp_replace(coalesce(begun.why, c.why), '^.*?\)(; |$)', '') ELSE c.why END AS why,
           c.at, c.size_bytes
    FROM reconciler.changes AS c LEFT JOIN LATERAL (
        SELECT h.why FROM reconciler.history AS h
        WHERE c.evidence ? 'restored_by' AND c.to_state = 'resolved' AND h.finding_id = c.finding_id
          AND h.act = 'restore begun' AND h.id < c.id
        ORDER BY h.id DESC LIMIT 1
    ) AS begun ON true
    WHERE c.at >= %(since)s AND c.at < %(until)s AND (c.act = ANY (%(acts)s::text[]) OR c.evidence ? 'restored_by')
)
SELECT d.act, count(*), sum(d.size_bytes)::bigint, d.actor, d.why, min(d.at), max(d.at)
FROM done AS d
WHERE d.act = ANY (%(acts)s::text[])
GROUP BY 1, 4, 5 ORDER BY array_position(%(acts)s::text[], d.act), 2 DESC, 4, 5 LIMIT %(most)s

-- name: restraints
-- What was set, released and lifted, and what else persons did to the reconciler itself.
SELECT h.at, h.act, h.subject, h.actor, h.why FROM reconciler.history AS h
WHERE h.finding_id IS NULL AND h.at >= %(since)s AND h.at < %(until)s AND h.act <> ALL (%(without)s::text[])
UNION ALL
SELECT r.since, CASE r.effect WHEN 'brake' THEN 'brake set' ELSE 'unreadable' END, concat_ws(' ', r.kind, nullif(r.bucket, '')),
       r.actor, r.why
FROM reconciler.restraint AS r
WHERE r.effect IN ('brake', 'unreadable') AND r.since >= %(since)s AND r.since < %(until)s
UNION ALL
SELECT r.lifted_at, 'readable again', r.bucket, coalesce(r.lifted_by, ''), ''
FROM reconciler.restraint AS r
WHERE r.effect = 'unreadable' AND r.lifted_at >= %(since)s AND r.lifted_at < %(until)s
ORDER BY 1 DESC LIMIT %(most)s

-- name: decisions
-- What was decided of dead letters.
SELECT h.act, count(*) FROM reconciler.history AS h
WHERE h.act = ANY (%(acts)s::text[]) AND h.at >= %(since)s AND h.at < %(until)s GROUP BY 1

-- name: pruned
-- Before which time the history of what is closed, and sweeps, are gone.
SELECT l.checkpoint FROM reconciler.lease AS l WHERE l.task = 'duty retention' AND l.lower = '' AND l.checkpoint IS NOT NULL
