-- What a person does to the reconciler itself; each is kept in the history.

-- name: note
INSERT INTO reconciler.history (subject, actor, act, why, evidence, published_at)
VALUES (%(subject)s, %(actor)s, %(act)s, %(why)s, %(evidence)s, now())

-- name: note_finding
-- Changes no state: it is a line of the finding's history. With `once` none that says what the last one says already.
INSERT INTO reconciler.history (finding_id, subject, actor, act, from_state, to_state, why)
SELECT f.id, f.bucket || '/' || f.key, %(actor)s, %(act)s, f.state, f.state, %(why)s
FROM reconciler.finding AS f
WHERE f.id = ANY (%(ids)s) AND NOT (%(once)s AND (%(act)s, %(why)s) = (
    SELECT h.act, h.why FROM reconciler.history AS h WHERE h.finding_id = f.id ORDER BY h.id DESC LIMIT 1))

-- name: holdings
-- What dropping the schema would lose: findings that are not closed, rows that carry our flag.
SELECT count(*), count(*) FILTER (WHERE previous_status IS NOT NULL)
FROM reconciler.finding WHERE closed_at IS NULL

-- name: drop
DROP SCHEMA IF EXISTS reconciler CASCADE

-- name: migration_table
CREATE TABLE IF NOT EXISTS reconciler.migration
    (number integer PRIMARY KEY, sha256 text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now());

-- name: migrated
INSERT INTO reconciler.migration (number, sha256) VALUES ({number}, {sha256});
