-- Who may read a job's log and results besides its owner: nobody, or the site's share group.
ALTER TABLE jobs ADD COLUMN share TEXT NOT NULL DEFAULT 'private' CHECK (share IN ('private', 'lab'));
