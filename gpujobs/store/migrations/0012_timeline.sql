-- What devices were used for in some time, without a look at everything that ever ran.
CREATE INDEX attempts_ended ON attempts (ended_at);
CREATE INDEX device_events_at ON device_events (at);
