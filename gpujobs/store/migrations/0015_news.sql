-- Who wants to be told of what, and what is still to be told.

-- `setting` is JSON, as `notify:` of a job file; it counts for what happens from `since` on.
CREATE TABLE news_settings (
    uid INTEGER PRIMARY KEY,
    setting TEXT NOT NULL,
    since TEXT NOT NULL
);

-- The outbox. `what` says which news it is: the same is not told twice to one recipient. `way` and `recipient` (JSON)
-- say to whom; `next_at` is when it is tried (again), while its state is waiting.
CREATE TABLE news (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job INTEGER NOT NULL REFERENCES jobs(id) ON DELETE CASCADE,
    group_id INTEGER,
    uid INTEGER NOT NULL,
    occasion TEXT NOT NULL,
    what TEXT NOT NULL,
    detail TEXT NOT NULL,
    way TEXT NOT NULL,
    recipient TEXT NOT NULL,
    happened_at TEXT NOT NULL,
    made_at TEXT NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0,
    next_at TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'sent', 'failed', 'dropped')),
    UNIQUE (what, way, recipient)
);
CREATE INDEX news_waiting ON news (next_at) WHERE state = 'waiting';
CREATE INDEX news_of_user ON news (uid, made_at);
CREATE INDEX news_of_job ON news (job);

-- The newest event that was looked at for news. What happened before there were any is told to nobody.
CREATE TABLE news_cursor (id INTEGER PRIMARY KEY CHECK (id = 1), event INTEGER NOT NULL);
INSERT INTO news_cursor (id, event) SELECT 1, coalesce(max(id), 0) FROM events;
