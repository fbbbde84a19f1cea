"""The ways to run a batch of tutorial jobs on a few slots that are measured side by side.

Each is a module with `NAME`, `missing()`: None, or what has to be installed first, and `session(batch)`: a
context that starts what must run beforehand (a daemon, a process that has TensorFlow imported), untimed, and
gives the function to time: it returns when the results of all jobs are there.
"""

from benchmarks.contenders import (
    cold_scripts,
    fresh,
    gflow,
    gpujobs_daemon,
    limit,
    ray_jobs,
    resident_limit,
    slurm,
    task_spooler,
    xargs,
)

ALL = (
    fresh,
    limit,
    resident_limit,
    gpujobs_daemon,
    cold_scripts,
    xargs,
    task_spooler,
    slurm,
    gflow,
    ray_jobs,
)
