-- What a job asks for is one value, which only the policy reads: JSON, as gpujobs/store/demands.py writes it. Of its
-- fields `family` is asked for by SQL; it is a column that is computed. What a job waits for stays in `dependencies`.

ALTER TABLE jobs ADD COLUMN demand TEXT NOT NULL DEFAULT '{}';
UPDATE jobs SET demand = json_object(
    'priority', priority,
    'requested_gpu', requested_gpu,
    'gpu_memory', CASE gpu_memory WHEN 'auto' THEN 'auto' ELSE CAST(gpu_memory AS INTEGER) END,
    'estimate_bytes', estimate_bytes,
    'family', family,
    'exclusive', json(iif(exclusive, 'true', 'false')),
    'preemptible', json(iif(preemptible, 'true', 'false')),
    'time_limit_seconds', time_limit_seconds,
    'begin_at', begin_at,
    'at_most', at_most
);

DROP INDEX jobs_family;
ALTER TABLE jobs DROP COLUMN priority;
ALTER TABLE jobs DROP COLUMN requested_gpu;
ALTER TABLE jobs DROP COLUMN gpu_memory;
ALTER TABLE jobs DROP COLUMN estimate_bytes;
ALTER TABLE jobs DROP COLUMN family;
ALTER TABLE jobs DROP COLUMN exclusive;
ALTER TABLE jobs DROP COLUMN preemptible;
ALTER TABLE jobs DROP COLUMN time_limit_seconds;
ALTER TABLE jobs DROP COLUMN begin_at;
ALTER TABLE jobs DROP COLUMN at_most;
ALTER TABLE jobs ADD COLUMN family TEXT GENERATED ALWAYS AS (json_extract(demand, '$.family')) VIRTUAL;
CREATE INDEX jobs_family ON jobs (family) WHERE family IS NOT NULL;
