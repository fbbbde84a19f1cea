-- Whose turn it is, what a job may share, and what is reserved.

ALTER TABLE jobs ADD COLUMN begin_at TEXT;
ALTER TABLE jobs ADD COLUMN gpu_memory TEXT;        -- bytes, or auto; NULL: a whole device
ALTER TABLE jobs ADD COLUMN estimate_bytes INTEGER; -- for auto, as long as nothing was measured
ALTER TABLE jobs ADD COLUMN family TEXT;            -- the same for jobs that need the same memory
ALTER TABLE jobs ADD COLUMN exclusive INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN preemptible INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN continues INTEGER REFERENCES jobs (id); -- whose checkpoint it begins from
CREATE INDEX jobs_family ON jobs (family) WHERE family IS NOT NULL;

ALTER TABLE dependencies ADD COLUMN any_end INTEGER NOT NULL DEFAULT 0; -- also where that job fails

ALTER TABLE attempts ADD COLUMN gpu_memory_bytes INTEGER; -- reserved of a shared device; NULL: the whole one
ALTER TABLE attempts ADD COLUMN device_memory_bytes INTEGER;
ALTER TABLE attempts ADD COLUMN peak_bytes INTEGER;       -- of the device, as NVML has seen its process

CREATE TABLE reservations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    device TEXT NOT NULL,
    user TEXT,
    unix_group TEXT,
    starts_at TEXT NOT NULL,
    ends_at TEXT NOT NULL,
    made_by TEXT NOT NULL,
    cancelled INTEGER NOT NULL DEFAULT 0
);

-- GPU-seconds of processes that are not jobs, by user, decayed until `at`; only where the site charges them.
CREATE TABLE foreign_use (
    user TEXT PRIMARY KEY,
    gpu_seconds REAL NOT NULL,
    at TEXT NOT NULL
) WITHOUT ROWID;
