-- The sweep: its runs, and the drifts that each confirmed. Its ranges are leases (task 'sweep ID').

CREATE TABLE reconciler.sweep (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    bucket      text COLLATE "C" NOT NULL,
    prefix      text COLLATE "C" NOT NULL DEFAULT '',
    kind        text NOT NULL DEFAULT 'sweep' CHECK (kind IN ('sweep', 'scrub')),
    mode        text NOT NULL CHECK (mode IN ('report', 'fix', 'baseline')),
    state       text NOT NULL CHECK (state IN ('wanted', 'running', 'complete', 'incomplete', 'held')),
    reason      text NOT NULL DEFAULT '',
    actor       text NOT NULL,
    facts       jsonb NOT NULL DEFAULT '{}',                -- which facts of a line are compared, and from which source
    totals      jsonb NOT NULL DEFAULT '{}',
    started_at  timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz
);
CREATE INDEX sweep_of_bucket ON reconciler.sweep (bucket, id);

CREATE TABLE reconciler.drift (
    sweep_id    bigint NOT NULL REFERENCES reconciler.sweep ON DELETE CASCADE,
    kind        text NOT NULL,                              -- a finding's kind, 'lookalike', or 'healed'
    bucket      text COLLATE "C" NOT NULL,
    key         text COLLATE "C" NOT NULL,
    s3_version  text COLLATE "C" NOT NULL DEFAULT '',
    row_id      text COLLATE "C" NOT NULL DEFAULT '',
    cause       text NOT NULL DEFAULT '',
    size_bytes  bigint,
    group_name  text NOT NULL DEFAULT '',
    owner       text NOT NULL DEFAULT '',
    since       timestamptz,
    counterpart text NOT NULL DEFAULT '',
    known       boolean NOT NULL DEFAULT false,
    meter       text NOT NULL DEFAULT 'unmeasured',
    sighted_at  timestamptz NOT NULL DEFAULT now(),
    seen_again  boolean NOT NULL DEFAULT false,
    PRIMARY KEY (sweep_id, key, s3_version, row_id)
);

CREATE VIEW reconciler.sweeps AS
SELECT id, bucket, prefix, kind, mode, state, reason, actor, started_at, finished_at,
       (totals ->> 'objects')::bigint AS objects, (totals ->> 'rows')::bigint AS rows,
       (totals ->> 'missing')::bigint AS missing, (totals ->> 'mismatch')::bigint AS mismatch,
       (totals ->> 'orphan')::bigint AS orphans, (totals ->> 'leftover')::bigint AS leftovers,
       (totals ->> 'lookalike')::bigint AS lookalikes, (totals ->> 'healed')::bigint AS healed, totals
FROM reconciler.sweep;
