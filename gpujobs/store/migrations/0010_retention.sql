-- What retention removes, and what it keeps of it.

ALTER TABLE jobs ADD COLUMN results_removed_at TEXT;
ALTER TABLE jobs ADD COLUMN results_removed_by TEXT; -- a user's name, or gpujobs

-- Attempts of jobs that were removed: fair share counts them as before.
CREATE TABLE past_use (
    user TEXT NOT NULL,
    started_at TEXT NOT NULL,
    ended_at TEXT NOT NULL,
    gpu_memory_bytes INTEGER,
    device_memory_bytes INTEGER
);
CREATE INDEX past_use_ended ON past_use (ended_at);

-- The most that a removed job of a family was seen to use.
CREATE TABLE past_peaks (
    family TEXT PRIMARY KEY,
    peak_bytes INTEGER NOT NULL
) WITHOUT ROWID;

-- For the references that are looked for when a job goes.
CREATE INDEX jobs_spec ON jobs (spec);
CREATE INDEX jobs_continues ON jobs (continues) WHERE continues IS NOT NULL;
CREATE INDEX specs_source_of ON specs (source_of) WHERE source_of IS NOT NULL;

-- The history of a job ends with the job, and not before.
DROP TRIGGER events_are_append_only_delete;
CREATE TRIGGER events_are_append_only_delete BEFORE DELETE ON events
WHEN EXISTS (SELECT 1 FROM jobs WHERE id = OLD.job)
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
