-- The jobs of a sweep are a group, whose id is that of its first job; `sweep` is its name.
ALTER TABLE jobs ADD COLUMN group_id INTEGER REFERENCES jobs (id);
ALTER TABLE jobs ADD COLUMN sweep_values TEXT;  -- JSON: what the sweep sets, by key; NULL of jobs older than this
CREATE INDEX jobs_group ON jobs (group_id, state) WHERE group_id IS NOT NULL;
CREATE INDEX jobs_group_name ON jobs (uid, sweep, group_id) WHERE sweep IS NOT NULL;

-- So far a group was the jobs that one submission made of one file, and what was queued again of them.
CREATE TEMP TABLE members (job INTEGER PRIMARY KEY, first INTEGER NOT NULL);
INSERT INTO members
WITH RECURSIVE found (job, first) AS (
    SELECT jobs.id, min(jobs.id) OVER (PARTITION BY uid, request_key, sweep, specs.path)
    FROM jobs JOIN specs ON specs.id = jobs.spec
    WHERE sweep IS NOT NULL AND request_key NOT GLOB 'requeue-[0-9]*'
    UNION ALL
    SELECT copy.id, found.first
    FROM found JOIN jobs original ON original.id = found.job
    JOIN jobs copy ON copy.uid = original.uid AND copy.id > original.id AND copy.sweep = original.sweep
        -- '.' follows '-': with these bounds the index of the keys is used.
        AND copy.request_key BETWEEN 'requeue-' || original.id || '-' AND 'requeue-' || original.id || '.'
)
SELECT job, first FROM found;
UPDATE jobs SET group_id = coalesce((SELECT first FROM members WHERE job = jobs.id), id)
    WHERE sweep IS NOT NULL;
DROP TABLE members;
