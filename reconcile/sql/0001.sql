-- The reconciler's own tables. Nothing here touches the application's tables.
-- Keys are compared in byte order everywhere, as MinIO lists them.

CREATE TABLE reconciler.finding (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    bucket          text COLLATE "C" NOT NULL,
    key             text COLLATE "C" NOT NULL,
    s3_version      text COLLATE "C" NOT NULL DEFAULT '',   -- '' = the latest
    row_id          text COLLATE "C" NOT NULL DEFAULT '',   -- '' = the object itself: an orphan or a leftover
    kind            text NOT NULL CHECK (kind IN ('missing', 'orphan', 'mismatch', 'leftover')),
    cause           text NOT NULL DEFAULT '',
    state           text NOT NULL
                    CHECK (state IN ('suspected', 'open', 'ignored', 'approved', 'resolved', 'deleted')),
    revision        integer NOT NULL DEFAULT 1,
    file_id         text,
    group_name      text,
    owner           text,
    size_bytes      bigint,
    etag            text,
    previous_status text,                                   -- set while the row carries our flag
    held_by         text,                                   -- 'brake', 'released', 'refused'
    suspected_at    timestamptz NOT NULL DEFAULT now(),
    opened_at       timestamptz,
    closed_at       timestamptz,
    named_by        text[] NOT NULL DEFAULT '{}',
    evidence        jsonb NOT NULL DEFAULT '{}'
);
CREATE UNIQUE INDEX finding_current ON reconciler.finding (key, bucket, s3_version, row_id) WHERE closed_at IS NULL;
CREATE INDEX finding_by_row ON reconciler.finding (row_id) WHERE row_id <> '';
CREATE INDEX finding_by_state ON reconciler.finding (state, kind);
CREATE INDEX finding_held ON reconciler.finding (held_by) WHERE held_by IS NOT NULL AND closed_at IS NULL;
CREATE INDEX finding_closed ON reconciler.finding (closed_at) WHERE closed_at IS NOT NULL;

CREATE TABLE reconciler.history (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    finding_id   bigint REFERENCES reconciler.finding ON DELETE CASCADE,
    subject      text NOT NULL,
    at           timestamptz NOT NULL DEFAULT now(),
    actor        text NOT NULL,
    act          text NOT NULL,
    from_state   text,
    to_state     text,
    why          text NOT NULL DEFAULT '',
    evidence     jsonb NOT NULL DEFAULT '{}',
    published_at timestamptz
);
CREATE INDEX history_of_finding ON reconciler.history (finding_id, id);
CREATE INDEX history_by_act ON reconciler.history (act, at);
CREATE INDEX history_unpublished ON reconciler.history (id) WHERE published_at IS NULL;

CREATE TABLE reconciler.look (
    bucket     text COLLATE "C" NOT NULL,
    key        text COLLATE "C" NOT NULL,
    s3_version text COLLATE "C" NOT NULL DEFAULT '',
    due_at     timestamptz NOT NULL,
    attempt    integer NOT NULL DEFAULT 0,
    asks       integer NOT NULL DEFAULT 0,                  -- hints that asked since; a look ends only if none did meanwhile
    reason     text NOT NULL,
    evidence   jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (key, bucket, s3_version)
);
CREATE INDEX look_due ON reconciler.look (due_at);

CREATE TABLE reconciler.lease (
    task       text NOT NULL,
    lower      text COLLATE "C" NOT NULL DEFAULT '',
    upper      text COLLATE "C",
    checkpoint text,
    tally      jsonb NOT NULL DEFAULT '{}',
    owner      text NOT NULL,
    until      timestamptz NOT NULL,
    PRIMARY KEY (task, lower)
);

CREATE TABLE reconciler.restraint (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    effect    text NOT NULL CHECK (effect IN ('brake', 'suppress', 'ignore', 'unreadable')),
    bucket    text COLLATE "C" NOT NULL DEFAULT '',         -- '' = all
    kind      text,
    pattern   text,
    since     timestamptz NOT NULL DEFAULT now(),
    until     timestamptz,
    actor     text NOT NULL,
    why       text NOT NULL DEFAULT '',
    lifted_at timestamptz,
    lifted_by text
);
CREATE UNIQUE INDEX restraint_active ON reconciler.restraint (effect, bucket, (coalesce(kind, '')))
    WHERE lifted_at IS NULL AND effect IN ('brake', 'unreadable');

CREATE VIEW reconciler.findings AS
SELECT id, bucket, key, s3_version, nullif(row_id, '') AS version_id, kind, cause, state, file_id, group_name, owner,
       size_bytes, etag, previous_status, held_by, suspected_at, opened_at, closed_at, named_by, evidence
FROM reconciler.finding;

CREATE VIEW reconciler.orphans AS
SELECT id, bucket, key, s3_version, kind, cause, state, size_bytes, etag, held_by, suspected_at, opened_at, named_by,
       evidence
FROM reconciler.finding
WHERE kind IN ('orphan', 'leftover') AND closed_at IS NULL;

CREATE VIEW reconciler.corrupted_by_group AS
SELECT coalesce(group_name, '') AS group_name, count(*) AS corrupted_count
FROM reconciler.finding
WHERE previous_status IS NOT NULL AND closed_at IS NULL
GROUP BY 1;
