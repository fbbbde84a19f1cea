"""The proof after a fault: what the store's history, the files and the processes say, held against the invariants.

The store is read by SQLite itself, never through gpujobs; that a training has run is known from the notes and locks
of the trainers (standin/small_child.py).
"""

from __future__ import annotations

import itertools
import json
import sqlite3
import sys
from collections import defaultdict
from contextlib import closing
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .box import FINAL, STANDIN, TOLD, Box, Failure, until

sys.path.append(str(STANDIN))  # last: what stands in for others there stands in for nobody here
import small_training

CLOCK_SECONDS = 0.05
MOST_TOLD = 4
"""Times that one end is told where the record of it fails for a moment, or its daemon is killed before it."""

STEPS = {
    (None, "PENDING"),
    ("PENDING", "STARTING"),
    ("STARTING", "RUNNING"),
    ("STARTING", "COMPLETING"),
    ("STARTING", "PENDING"),
    ("RUNNING", "COMPLETING"),
    ("COMPLETING", "PENDING"),
    ("PENDING", "CANCELLED"),
    *(("COMPLETING", state) for state in FINAL),
}
"""Legal steps, as docs/protocol.md and the design have them."""


def check(box: Box) -> None:
    """Raises Failure with the first thing that must not be."""
    store = read(box.database)
    for job in box.acknowledged:
        if job not in store["jobs"]:
            raise Failure("lost", f"job {job} was acknowledged, and the store does not know it")
    for number, job in store["jobs"].items():
        check_history(job, store["events"][number])
        first = None if number in box.used_before else box.has_attempts.get(number, 0) + 1
        check_attempts(job, store["attempts"][number], first)
        check_end(box, number, job)
        check_results(box, number, job, store["attempts"][number])
    check_devices([one for attempts in store["attempts"].values() for one in attempts])
    check_evidence(box, store)
    check_news(box, store)
    until(lambda: not leftovers(box), 30, f"nothing is left running: {leftovers(box)}", "doubled")


def read(database: Path) -> dict[str, Any]:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=20)) as store:
        store.row_factory = sqlite3.Row
        jobs = {
            row["id"]: dict(row)
            for row in store.execute(
                "SELECT jobs.*, specs.resolved FROM jobs JOIN specs ON specs.id = jobs.spec"
            )
        }
        attempts: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for row in store.execute("SELECT * FROM attempts ORDER BY job, number"):
            attempts[row["job"]].append(dict(row))
        events: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for row in store.execute("SELECT * FROM events ORDER BY id"):
            events[row["job"]].append(dict(row))
        (verdict,) = store.execute("PRAGMA quick_check").fetchone()
    if verdict != "ok":
        raise Failure("wrong", f"the store is damaged: {verdict}")
    return {"jobs": jobs, "attempts": attempts, "events": events}


def check_history(job: dict[str, Any], events: list[dict[str, Any]]) -> None:
    """One unbroken chain of legal steps, to one final state."""
    steps = [(event["from_state"], event["to_state"]) for event in events if event["to_state"]]
    before = None
    for source, target in steps:
        if source != before or (source, target) not in STEPS:
            raise Failure(
                "wrong", f"job {job['id']} made the step {source} -> {target} after {before}: {steps}"
            )
        before = target
    if before != job["state"]:
        raise Failure("wrong", f"job {job['id']} is {job['state']}, and its last step led to {before}")
    ends = [target for _, target in steps if target in FINAL]
    if len(ends) != 1:
        raise Failure("lost", f"job {job['id']} has {len(ends)} ends: {steps}")


def check_attempts(job: dict[str, Any], attempts: list[dict[str, Any]], lowest: int | None = 1) -> None:
    """Numbered one after the other, each ended, each with an id of its own, retries counted. `lowest`: that of the
    first; None where the store, a copy, may have forgotten some."""
    if lowest is None:
        lowest = int(attempts[0]["number"]) if attempts else 1
    if [one["number"] for one in attempts] != list(range(lowest, job["attempt"] + 1)):
        raise Failure(
            "wrong", f"job {job['id']}: attempts {[one['number'] for one in attempts]}, {job['attempt']} made"
        )
    if any(one["ended_at"] is None for one in attempts):
        raise Failure("lost", f"job {job['id']} has ended, and an attempt of it has not")
    for first, second in itertools.pairwise(attempts):
        if first["ended_at"] > second["started_at"]:
            raise Failure(
                "doubled", f"job {job['id']}: attempt {second['number']} began before the one before it ended"
            )
    if len({one["nonce"] for one in attempts}) != len(attempts) or any(not one["nonce"] for one in attempts):
        raise Failure("doubled", f"job {job['id']}: attempts share an id")
    crashes = sum(one["exit_signal"] is not None and one["reason"] == "TrainerCrashed" for one in attempts)
    if job["retries_used"] > job["retries"] or crashes > job["retries"] + 1:
        raise Failure("wrong", f"job {job['id']}: {crashes} crashes, with {job['retries']} retries allowed")


def check_end(box: Box, number: int, job: dict[str, Any]) -> None:
    known = box.acknowledged.get(number)
    if known is not None and job["state"] not in known["expect"]:
        raise Failure(
            "lost", f"job {number} ended {job['state']} ({job['message']}), expected {known['expect']}"
        )


def check_results(box: Box, number: int, job: dict[str, Any], attempts: list[dict[str, Any]]) -> None:
    """Whole, of the right attempt, and equal to those of an undisturbed twin; or not there."""
    directory = box.state / "results" / str(number)
    if job["state"] != "COMPLETED":
        if job["results"] is not None:
            raise Failure("wrong", f"job {number} is {job['state']} and has results")
        return
    if job["results"] != str(directory) or not directory.is_dir():
        raise Failure("wrong", f"job {number} is COMPLETED and its results are {job['results']}")
    mark = directory / ".attempt"
    if not mark.is_file() or mark.read_text().split()[:1] != [attempts[-1]["nonce"]]:
        raise Failure("wrong", f"the results of job {number} are of another attempt")
    if not box.is_small:
        check_twin(box, number, directory)
        return
    of = json.loads((directory / "attempt.json").read_text())
    if of != {"job": number, "attempt": job["attempt"], "nonce": attempts[-1]["nonce"]}:
        raise Failure("wrong", f"the results of job {number} were written by {of}")
    training = json.loads(job["resolved"])["training"]
    predicted, rows = small_training.train(training["seed"], training["epochs"])
    lines = ["epoch,loss", *(f"{row['epoch']},{row['loss']!r}" for row in rows)]
    with np.load(directory / "predictions.npz") as found:
        if not np.array_equal(found["y_pred"], predicted):
            raise Failure("wrong", f"the predictions of job {number} are not its twin's")
    if (directory / "history.csv").read_text().splitlines() != lines:
        raise Failure("wrong", f"the history of job {number} is not its twin's")


def check_twin(box: Box, number: int, directory: Path) -> None:
    """All jobs of a box with Keras that have the same number of epochs are twins: the first was undisturbed."""
    known = box.acknowledged.get(number)
    if known is None:
        return
    with np.load(directory / "predictions.npz") as found:
        results = ({name: found[name] for name in found.files}, (directory / "history.csv").read_text())
    arrays, history = box.twins.setdefault(known["epochs"], results)
    if history != results[1]:
        raise Failure("wrong", f"the history of job {number} is not its twin's")
    if set(arrays) != set(results[0]) or any(
        not np.array_equal(arrays[name], results[0][name]) for name in arrays
    ):
        raise Failure("wrong", f"the predictions of job {number} are not its twin's")


def check_devices(attempts: list[dict[str, Any]]) -> None:
    by_device: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
    for one in attempts:
        by_device[one["device_uuid"]].append(
            (one["started_at"], one["ended_at"] or "9", f"{one['job']}.{one['number']}")
        )
    for device, intervals in by_device.items():
        for first, second in itertools.pairwise(sorted(intervals)):
            if first[1] > second[0]:
                raise Failure("doubled", f"{first[2]} and {second[2]} had {device} at once: {first} {second}")


def check_evidence(box: Box, store: dict[str, Any]) -> None:
    """What the trainers themselves have noted."""
    doubled = box.evidence / "doubled"
    if doubled.exists():
        raise Failure("doubled", f"two trainers at once: {doubled.read_text()}")
    starts = box.evidence / "starts"
    ids: dict[tuple[int, int], set[str]] = defaultdict(set)
    ends = {one["nonce"]: one["ended_at"] for all_ in store["attempts"].values() for one in all_}
    for line in starts.read_text().splitlines() if starts.exists() else ():
        job, attempt, nonce, _, at = line.split()
        ids[int(job), int(attempt)].add(nonce)
        if nonce in ends and float(at) > datetime.fromisoformat(ends[nonce]).timestamp() + CLOCK_SECONDS:
            raise Failure(
                "doubled", f"{job}.{attempt} began to train after the store had it ended at {ends[nonce]}"
            )
    known = {(one["job"], one["number"]): one["nonce"] for all_ in store["attempts"].values() for one in all_}
    for key, nonces in ids.items():
        if len(nonces) > 1:
            raise Failure("doubled", f"the number {key[0]}.{key[1]} was used by {len(nonces)} attempts")
        if key in known and known[key] not in nonces:
            raise Failure("doubled", f"{key[0]}.{key[1]} has run with another id than the store's")


def check_news(box: Box, store: dict[str, Any]) -> None:
    """Whoever asked for it is told of a job's one end, and of no other; again only where nobody could record it."""
    for number, known in box.acknowledged.items():
        if not known["name"].startswith(TOLD):
            continue
        state = store["jobs"][number]["state"]
        until(partial(told, box, number, state), 60, f"its user is told that job {number} is {state}")
        if told(box, number) > told(box, number, state):
            raise Failure("wrong", f"of job {number}, {state}, its user was told what it is not")
        if (times := told(box, number)) > MOST_TOLD:
            raise Failure("doubled", f"of the end of job {number} its user was told {times} times")


def told(box: Box, *what: object) -> int:
    """How often the user's command has run, for this job and this end of it."""
    lines = box.news.read_text().splitlines() if box.news.exists() else []
    return sum(line.split()[: len(what)] == [*map(str, what)] for line in lines)


def leftovers(box: Box) -> dict[int, str]:
    """Trainers and supervisors, when all jobs have ended."""
    return {
        pid: name
        for pid, name in box.processes().items()
        if "supervisor: job" in name or "trainer: job" in name
    }
