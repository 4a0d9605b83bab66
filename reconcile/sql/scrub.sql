-- Every statement of the scrub that the sweep has not: a scrub is a row of `sweep`, and its one range a lease beside it.

-- name: unfinished
SELECT id FROM reconciler.sweep
WHERE bucket = %(bucket)s AND prefix = %(prefix)s AND kind = 'scrub' AND state = 'running'
ORDER BY id DESC LIMIT 1

-- name: begin
INSERT INTO reconciler.sweep (bucket, prefix, kind, mode, state, actor)
VALUES (%(bucket)s, %(prefix)s, 'scrub', %(mode)s, 'running', %(actor)s)
RETURNING id

-- name: give_up
UPDATE reconciler.sweep SET state = 'incomplete', reason = %(reason)s, finished_at = now(), totals = coalesce(
    (SELECT tally FROM reconciler.lease WHERE task = 'sweep ' || %(id)s), totals)
WHERE id = %(id)s

-- name: mode
UPDATE reconciler.sweep SET mode = %(mode)s WHERE id = %(id)s RETURNING started_at

-- name: take_over
-- Whoever holds the bucket's lease has the range: who had it before is gone.
UPDATE reconciler.lease SET owner = %(owner)s, until = now() + %(until_s)s * interval '1 second'
WHERE task = %(task)s RETURNING checkpoint, tally

-- name: keep_alive
UPDATE reconciler.lease SET until = now() + %(until_s)s * interval '1 second'
WHERE task = %(task)s AND owner = %(owner)s RETURNING task

-- name: advance
-- Checkpoint and totals, after the lease was kept in the same transaction.
UPDATE reconciler.lease SET checkpoint = %(checkpoint)s, tally = %(tally)s
WHERE task = %(task)s AND owner = %(owner)s

-- name: last_complete
SELECT started_at, finished_at, totals FROM reconciler.sweep
WHERE bucket = %(bucket)s AND prefix = %(prefix)s AND kind = 'scrub' AND state = 'complete'
ORDER BY id DESC LIMIT 1

-- name: last_at_work
-- When each bucket was last scrubbed, be it a little.
SELECT task, until FROM reconciler.lease WHERE task = ANY (%(tasks)s)
