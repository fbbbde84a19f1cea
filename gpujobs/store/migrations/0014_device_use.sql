-- What jobs made of their devices.

-- Sums over the samples of an attempt (gpujobs/measured/sums.py), as JSON.
ALTER TABLE attempts ADD COLUMN device_use TEXT;
ALTER TABLE past_use ADD COLUMN device_use TEXT;

-- Since when a device is known: it was not idle before it was there.
CREATE TABLE known_devices (
    device TEXT PRIMARY KEY,
    first_seen_at TEXT NOT NULL
) WITHOUT ROWID;
INSERT INTO known_devices
    SELECT device, min(at) FROM (
        SELECT device_uuid AS device, started_at AS at FROM attempts UNION ALL SELECT device, at FROM device_events
    ) GROUP BY device;

-- How long something that is no job was seen on a device, by the hour (UTC) that begins at `hour`.
CREATE TABLE stranger_time (
    device TEXT NOT NULL,
    hour TEXT NOT NULL,
    seconds REAL NOT NULL,
    PRIMARY KEY (device, hour)
) WITHOUT ROWID;
CREATE INDEX stranger_time_hour ON stranger_time (hour);
