-- Which store this is: a random id, so that another one, or an older copy beside newer results, is noticed.
CREATE TABLE identity (
    id TEXT PRIMARY KEY
) WITHOUT ROWID;
INSERT INTO identity VALUES (lower(hex(randomblob(16))));
-- Whether the next attempt is to leave the checkpoints that are there, as somebody has asked.
ALTER TABLE jobs ADD COLUMN begins_anew INTEGER NOT NULL DEFAULT 0;
