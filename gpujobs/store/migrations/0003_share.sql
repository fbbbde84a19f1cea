-- Who may read a job's log and results besides its owner: nobody, or the site's share group. And the text of a
-- job file is stored once for all the jobs that a sweep in it makes.
ALTER TABLE specs ADD COLUMN source_of INTEGER REFERENCES specs (id); -- whose `source` it is, where not its own
ALTER TABLE jobs ADD COLUMN share TEXT NOT NULL DEFAULT 'private' CHECK (share IN ('private', 'lab'));
