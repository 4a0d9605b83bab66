-- The outbox: changes of findings that are still to be published. While the duty that publishes them is on, a change
-- waits; else it counts as published when it is written, whoever writes it.

ALTER TABLE reconciler.history ADD COLUMN revision integer, ADD COLUMN kind text, ADD COLUMN cause text;

CREATE FUNCTION reconciler.published_unless_wanted() RETURNS timestamptz STABLE LANGUAGE sql AS $$
    SELECT CASE WHEN NOT EXISTS (
        SELECT FROM reconciler.lease WHERE task = 'duty outbox' AND lower = '' AND checkpoint = 'on') THEN now() END
$$;

ALTER TABLE reconciler.history ALTER COLUMN published_at SET DEFAULT reconciler.published_unless_wanted();
