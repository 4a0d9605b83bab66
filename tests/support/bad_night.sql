-- A bad night: a brake, a mass of findings with hostile words, lost events, a rule that was narrowed.

INSERT INTO reconciler.lease (task, lower, tally, checkpoint, owner, until) VALUES
    ('duty figures', '', '{}', %(counted)s, 'consumer-1', now() + interval '1 hour'),
    ('duty rules', '', '{}', %(rules)s, 'consumer-1', now() + interval '1 hour'),
    ('express files', '', '{}', 'express.listening', 'consumer-2', now() + interval '1 hour'),
    ('live_rows', 'files', jsonb_build_object('live', 199991, 'at', now(), 'flagged', 3), NULL, '-', now());
INSERT INTO reconciler.restraint (effect, bucket, kind, until, actor, why, pattern) VALUES
    ('brake', 'files', 'missing', NULL, 'consumer-1', '143 flags within 10 min; the limit is 100', NULL),
    ('suppress', 'files', NULL, now() + interval '2 hours', 'ann', 'restore from backup', 'users/'),
    ('ignore', 'files', 'orphan', now() + interval '60 days', 'bob', 'nightly dumps', 'backup/');
INSERT INTO reconciler.finding (bucket, key, row_id, kind, state, cause, group_name, owner, size_bytes, previous_status,
                                suspected_at, opened_at, named_by, evidence)
SELECT 'files', CASE i WHEN 1 THEN %(hostile)s ELSE 'users/' || i % 7 || '/report-' || i || '.pdf' END,
       CASE WHEN i % 3 = 0 THEN '' ELSE i::text END, CASE WHEN i % 3 = 0 THEN 'orphan' ELSE 'missing' END,
       CASE WHEN i % 5 = 0 THEN 'suspected' ELSE 'open' END,
       CASE WHEN i % 3 = 0 THEN 'no row names it' ELSE 'the object is gone' END, 'crm', 'ann', i * 1234567,
       CASE WHEN i % 3 > 0 AND i % 5 > 0 THEN 'active' END, now() - i * interval '7 minutes',
       now() - i * interval '6 minutes', '{stream}',
       jsonb_build_object('event', 's3:ObjectRemoved:Delete', 'principal', CASE i WHEN 1 THEN %(hostile)s ELSE 'alice' END,
                          'source_address', '192.0.2.7', 'named_by', 'stream', 'event_time', now(),
                          'object', jsonb_build_object('seen', 'absent', 'code', 'NoSuchKey'))
FROM generate_series(1, 130) AS i;
INSERT INTO reconciler.history (finding_id, subject, actor, act, from_state, to_state, why, at)
SELECT i, 'files/x', CASE i WHEN 1 THEN %(hostile)s ELSE 'consumer-1' END, act, before, after, %(hostile)s,
       now() - i * i % 30 * interval '1 day'
FROM generate_series(1, 130) AS i, (VALUES ('suspected', NULL, 'suspected'), ('opened', 'suspected', 'open'),
                                           ('resolved', 'open', 'resolved')) AS did (act, before, after)
WHERE act <> 'resolved' OR i % 4 = 0;
INSERT INTO reconciler.sweep (bucket, mode, state, reason, actor, totals, facts, started_at, finished_at)
SELECT 'files', 'report', CASE WHEN n = 6 THEN 'held' ELSE 'complete' END, CASE WHEN n = 6 THEN 'a side is empty' ELSE '' END,
       'timer', jsonb_build_object('objects', 199000 + n, 'rows', 199000, 'missing', n * 7 % 23, 'orphan', n * 5 % 11,
                                   'mismatch', n % 2, 'leftover', 0, 'lookalike', 0, 'healed', n % 3),
       '{}', now() - (21 - n) * interval '1 day', now() - (21 - n) * interval '1 day' + interval '90 seconds'
FROM generate_series(1, 20) AS n;
INSERT INTO reconciler.sweep (bucket, mode, state, reason, actor, facts) VALUES
    ('files', 'report', 'wanted', 'minio_restarted', 'consumer-1', jsonb_build_object(
        'from', now() - interval '3 hours', 'to', now() - interval '2 hours', 'times', 1, 'detail', 'node minio:9000 restarted'));
