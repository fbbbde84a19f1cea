-- What is known of devices beyond what NVML says: which of them get no more work, and who decided that.

CREATE TABLE devices (
    uuid TEXT PRIMARY KEY,
    drained TEXT,                            -- the reason; NULL: in service
    acknowledged TEXT NOT NULL DEFAULT '[]'  -- JSON: the errors of the hardware known to whoever resumed it
) WITHOUT ROWID;

CREATE TABLE device_events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    device TEXT NOT NULL,
    at TEXT NOT NULL,
    kind TEXT NOT NULL,
    actor TEXT NOT NULL,                     -- a user's name, or gpujobs
    message TEXT NOT NULL DEFAULT ''
);
CREATE INDEX device_events_device ON device_events (device, id);

CREATE TRIGGER device_events_are_append_only_update BEFORE UPDATE ON device_events
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
CREATE TRIGGER device_events_are_append_only_delete BEFORE DELETE ON device_events
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
