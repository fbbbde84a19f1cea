-- How many jobs are in which state, without a look at each of a hundred thousand.
CREATE INDEX jobs_state ON jobs (state);
