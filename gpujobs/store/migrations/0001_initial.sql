-- The store: the only truth about which jobs exist and in what state they are.
-- Instants are ISO 8601 text in UTC. JSON columns hold what gpujobs itself wrote.

CREATE TABLE specs (
    id INTEGER PRIMARY KEY,
    path TEXT NOT NULL,              -- of the job file, as the user named it
    source TEXT NOT NULL,            -- its text
    resolved TEXT NOT NULL           -- JSON
);

CREATE TABLE jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    uid INTEGER NOT NULL,
    gid INTEGER NOT NULL,
    user TEXT NOT NULL,
    request_key TEXT NOT NULL,
    request_index INTEGER NOT NULL,
    name TEXT NOT NULL,
    sweep TEXT,                      -- the name of the group that a sweep made
    spec INTEGER NOT NULL REFERENCES specs (id),
    state TEXT NOT NULL DEFAULT 'PENDING' CHECK (state IN (
        'PENDING', 'STARTING', 'RUNNING', 'COMPLETING',
        'COMPLETED', 'FAILED', 'CANCELLED', 'TIMEOUT', 'OUT_OF_MEMORY')),
    reason TEXT NOT NULL DEFAULT '',
    message TEXT NOT NULL DEFAULT '',
    priority INTEGER NOT NULL,
    held INTEGER NOT NULL,
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    retries INTEGER NOT NULL,
    retries_used INTEGER NOT NULL DEFAULT 0,
    requested_gpu INTEGER,
    time_limit_seconds REAL,
    submitted_at TEXT NOT NULL,
    started_at TEXT,
    ended_at TEXT,
    attempt INTEGER NOT NULL DEFAULT 0,
    progress TEXT,                   -- JSON, as last reported by an attempt that ended
    results TEXT,                    -- directory
    UNIQUE (uid, request_key, request_index)
);
CREATE INDEX jobs_unfinished ON jobs (state)
    WHERE state IN ('PENDING', 'STARTING', 'RUNNING', 'COMPLETING');
CREATE INDEX jobs_user ON jobs (uid, id);

CREATE TABLE dependencies (
    job INTEGER NOT NULL REFERENCES jobs (id),
    after INTEGER NOT NULL REFERENCES jobs (id),
    PRIMARY KEY (job, after)
) WITHOUT ROWID;
CREATE INDEX dependencies_after ON dependencies (after);

CREATE TABLE attempts (
    job INTEGER NOT NULL REFERENCES jobs (id),
    number INTEGER NOT NULL,
    node TEXT NOT NULL,
    device_uuid TEXT NOT NULL,
    device_kind TEXT NOT NULL,
    device_index INTEGER NOT NULL,
    device_name TEXT NOT NULL,
    started_at TEXT NOT NULL,
    running_at TEXT,
    ended_at TEXT,
    pid INTEGER,
    reason TEXT NOT NULL DEFAULT '',
    message TEXT NOT NULL DEFAULT '',
    exit_code INTEGER,
    exit_signal INTEGER,
    exit_record TEXT,                -- JSON, the supervisor's exit.json
    PRIMARY KEY (job, number)
) WITHOUT ROWID;
-- Never two live attempts of one job.
CREATE UNIQUE INDEX attempts_live ON attempts (job) WHERE ended_at IS NULL;

CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job INTEGER NOT NULL REFERENCES jobs (id),
    at TEXT NOT NULL,
    kind TEXT NOT NULL,
    actor TEXT NOT NULL,             -- a user's name, or gpujobs
    attempt INTEGER,
    from_state TEXT,
    to_state TEXT,
    reason TEXT NOT NULL DEFAULT '',
    message TEXT NOT NULL DEFAULT ''
);
CREATE INDEX events_job ON events (job, id);

CREATE TABLE data (
    uid INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    stored_at TEXT NOT NULL,
    PRIMARY KEY (uid, sha256)
) WITHOUT ROWID;

CREATE TABLE job_data (
    job INTEGER NOT NULL REFERENCES jobs (id),
    path TEXT NOT NULL,              -- as written in the job file
    sha256 TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    in_place TEXT,                   -- the absolute path, where the file is used where it lies
    PRIMARY KEY (job, path)
) WITHOUT ROWID;

CREATE TRIGGER events_are_append_only_update BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
CREATE TRIGGER events_are_append_only_delete BEFORE DELETE ON events
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
CREATE TRIGGER final_states_absorb BEFORE UPDATE OF state ON jobs
WHEN OLD.state IN ('COMPLETED', 'FAILED', 'CANCELLED', 'TIMEOUT', 'OUT_OF_MEMORY')
BEGIN SELECT RAISE(ABORT, 'a final state is left by nothing'); END;
