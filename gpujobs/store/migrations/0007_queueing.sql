-- What is queued again knows the job that it goes back to; jobs wait for failures, and for groups; at most so
-- many of a group run at once; a training may be asked to end after its epoch.
ALTER TABLE jobs ADD COLUMN origin INTEGER REFERENCES jobs (id); -- the first of those that were queued again
ALTER TABLE jobs ADD COLUMN at_most INTEGER;                     -- of the jobs of its group, at once
ALTER TABLE jobs ADD COLUMN finish INTEGER NOT NULL DEFAULT 0;   -- after the epoch under way
CREATE INDEX jobs_origin ON jobs (origin) WHERE origin IS NOT NULL;

-- any_end is 0: must complete, 1: must end, 2: must end without success (of a group: one of its jobs must).
ALTER TABLE dependencies ADD COLUMN of_group INTEGER REFERENCES jobs (id); -- the group that was named

-- So far only the key of the request said what was queued again.
CREATE TEMP TABLE copies (job INTEGER PRIMARY KEY, original INTEGER NOT NULL);
INSERT INTO copies
SELECT copy.id, original.id FROM jobs copy
JOIN jobs original ON original.id = CAST(substr(copy.request_key, 9) AS INTEGER)
WHERE copy.request_key GLOB 'requeue-[0-9]*' AND original.uid = copy.uid AND original.id < copy.id
    AND original.sweep IS copy.sweep;
UPDATE jobs SET origin = (
    WITH RECURSIVE line (job) AS (
        SELECT original FROM copies WHERE job = jobs.id
        UNION ALL
        SELECT copies.original FROM line JOIN copies ON copies.job = line.job
    )
    SELECT min(job) FROM line
) WHERE id IN (SELECT job FROM copies);
DROP TABLE copies;
