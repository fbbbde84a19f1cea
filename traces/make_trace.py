"""Makes a synthetic trace of a lab's submissions: `make_trace.py OUT --jobs 1500 --users 12 --days 7 --seed 0`.

People come in the morning and stay until the evening, on weekdays more than at weekends. Who submits most
follows Zipf's law. A tenth of the submissions are sweeps: many jobs at once, alike. Durations are log-normal,
as in the workloads of D. Feitelson, "Workload Modeling for Computer Systems Performance Evaluation" (2015),
with a median of 25 minutes and long tails, cut at two days. It depends on its seed alone.
"""

from __future__ import annotations

import argparse
import csv
import random
from collections.abc import Iterator
from pathlib import Path

HOUR, DAY = 3600, 86400
BY_HOUR = [1, 1, 1, 1, 1, 1, 1, 2, 6, 10, 12, 12, 9, 10, 12, 12, 10, 8, 6, 5, 4, 3, 2, 1]
MEMORY = ("", "", "", "", "", "", "2GiB", "4GiB", "8GiB", "12GiB")
SWEEP_PART = 0.1
Row = tuple[int, str, int, str, int]


def rows(jobs: int, users: int, days: int, random: random.Random) -> list[Row]:
    """(submit_time, user, duration, memory, priority), in order of time."""
    made: list[Row] = []
    for batch in batches(users, days, random):
        made += batch[: jobs - len(made)]
        if len(made) >= jobs:
            return sorted(made)
    raise AssertionError("batches never end")


def batches(users: int, days: int, random: random.Random) -> Iterator[list[Row]]:
    names = [f"user{n:02}" for n in range(1, users + 1)]
    weights = [1 / (n + 1) for n in range(users)]
    while True:
        (user,) = random.choices(names, weights)
        at = submit_time(days, random)
        median = random.lognormvariate(7.3, 0.8)
        memory = random.choice(MEMORY)
        count = random.randint(8, 60) if random.random() < SWEEP_PART else 1
        priority = -1 if count > 30 else 0
        yield [(at + n, user, duration(median, random), memory, priority) for n in range(count)]


def submit_time(days: int, random: random.Random) -> int:
    while True:
        day = random.randrange(days)
        if day % 7 < 5 or random.random() < 0.3:
            (hour,) = random.choices(range(24), BY_HOUR)
            return day * DAY + hour * HOUR + random.randrange(HOUR)


def duration(median: float, random: random.Random) -> int:
    return min(max(round(random.lognormvariate(0, 0.6) * median), 20), 2 * DAY)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--jobs", type=int, default=1500)
    parser.add_argument("--users", type=int, default=12)
    parser.add_argument("--days", type=int, default=7)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    made = rows(options.jobs, options.users, options.days, random.Random(options.seed))
    with options.out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("user", "submit_time", "duration", "memory", "priority"))
        writer.writerows(
            (user, at, seconds, memory, priority) for at, user, seconds, memory, priority in made
        )


if __name__ == "__main__":
    main()
