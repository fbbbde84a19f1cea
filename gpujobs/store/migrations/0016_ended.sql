-- What has ended since an instant, without a look at each of a hundred thousand.
CREATE INDEX jobs_ended ON jobs (coalesce(ended_at, submitted_at));
