"""What `gpujobs tensorboard` shows: a directory of runs, one for each job, of what its caller may read.

All of it comes from the daemon, as copies: so its rules count and not those of the disk, what others have made of
their results meanwhile (links, pipes) is not followed, and a job of another machine is as good as one of this.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpujobs.cli import curves, output
from gpujobs.cli.choosing import Selection
from gpujobs.cli.commands.fetch import fetch
from gpujobs.client import Client
from gpujobs.errors import MachineError, NotPermittedError, UsageError
from gpujobs.results.curves import History
from gpujobs.trainer.tensorboard import append_scalars, file_name

FOLDER = "tensorboard/"
MOST = 100
"""Of one's own jobs, the newest, where none are named."""
MAX_BYTES = 256 << 20
"""Of the event files of one job; those that a trainer writes have some kilobytes."""
NAME_BYTES = 200
"""Of a run, which is a directory's name."""
AGAIN_SECONDS = 2.0
"""Between two looks at the history of a job that runs: TensorBoard looks every five seconds."""

Row = dict[str, float]


@dataclass
class Run:
    """A job that has not ended. `rows`: those of its history that TensorBoard has been given."""

    job: int
    directory: Path
    rows: list[Row] = field(default_factory=list)
    file: Path | None = None
    epoch: object = None
    looked: float = 0.0


@dataclass(frozen=True, slots=True)
class Board:
    """`runs`: how many jobs there are to see, `of`: of how many; `live`: those that have not ended, by job."""

    runs: int
    of: int
    live: dict[int, Run]


def make(client: Client, chosen: Selection, directory: Path) -> Board:
    """Fills `directory`. Raises UsageError where there is nothing to show, NotPermittedError where others' jobs are
    named."""
    jobs, of = _begun(client, chosen)
    found = [(job, files) for job in jobs if (files := _files(client, chosen, job)) is not None]
    if not found:
        what = f"no job of {chosen} has" if chosen else "none of your jobs has"
        raise UsageError(f"{what} a learning curve yet; `gpujobs status --all` shows how they do")
    live, runs = {}, directory / "runs"
    runs.mkdir()
    for job, files in found:
        place = runs / run_name(job)
        own = [file for file in files if file["name"].startswith(FOLDER)]
        if own:
            _copy(client, job["id"], own, place, directory)
            continue
        run = Run(job["id"], place)
        place.mkdir()
        if any(file["name"] == curves.FILE for file in files):
            look(client, run)
        if not output.has_ended(job):
            live[run.job] = run
    return Board(len(found), of, live)


def _begun(client: Client, chosen: Selection) -> tuple[list[dict[str, Any]], int]:
    """Those that have begun, and how many they were before only the newest were taken. Where no daemon runs, those
    that have results."""
    query = (chosen or Selection(conditions={"mine": True})).query
    jobs = client.get("/v1/jobs", own=True, **query)["jobs"]
    begun = [job for job in jobs if job["results"] or (job["attempt"] and not client.is_of_files)]
    begun.sort(key=lambda job: int(job["id"]))
    return (begun if chosen else begun[-MOST:]), len(begun)


def _files(client: Client, chosen: Selection, job: dict[str, Any]) -> list[dict[str, Any]] | None:
    """None where nothing is to be seen of it, now or later. Others' private jobs in a group or the like are left out;
    one that is named is refused."""
    try:
        (found,) = client.results(ids=[job["id"]], partial=not client.is_of_files)
        files: list[dict[str, Any]] = found["files"]
    except NotPermittedError:
        if job["id"] in chosen.ids:
            raise
        return None
    except (UsageError, MachineError):  # its results have been removed, or its node does not answer
        files = []
    names = [file["name"] for file in files]
    has_some = curves.FILE in names or any(name.startswith(FOLDER) for name in names)
    return files if has_some or not output.has_ended(job) else None


def _copy(client: Client, id: int, files: Sequence[dict[str, Any]], place: Path, directory: Path) -> None:
    if sum(file["bytes"] for file in files) > MAX_BYTES:
        raise UsageError(
            f"{FOLDER} of job {id} is larger than {MAX_BYTES >> 20} MiB; `gpujobs fetch {id}` copies it"
        )
    copy = directory / f"copy-{id}"
    fetch(client, id, list(files), copy)
    (copy / FOLDER).rename(place)
    copy.rmdir()


def run_name(job: Mapping[str, Any]) -> str:
    """`7 lstm-runs`, `12 sweep units=64 dropout=0.1`."""
    sweep = job.get("sweep")
    name = f"{job['group']} {output.settings(sweep)}" if sweep else job["name"] or "-"
    text = output.printable(f"{job['id']} {name}").replace("/", "_")
    return text.encode(errors="replace")[:NAME_BYTES].decode(errors="ignore").strip()


def look(client: Client, run: Run) -> None:
    """Gives TensorBoard what is new in the job's history. One that has begun anew gets a new file: the old one is no
    part of what the job does now."""
    try:
        found = curves.read_history(client, run.job)
    except (UsageError, MachineError):  # not there yet, or its node does not answer: the next epoch has it
        return
    rows = _rows(found)
    if run.file is None or repr(rows[: len(run.rows)]) != repr(run.rows):  # by their texts NaN are the same
        if run.file is not None:
            run.file.unlink()
        run.file, run.rows = run.directory / file_name(time.time()), []
    append_scalars(run.file, rows[len(run.rows) :])
    run.rows = rows


def _rows(columns: History) -> list[Row]:
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def follow(client: Client, board: Board) -> None:
    """Until all have ended. Raises DaemonUnreachableError where the daemon ends before."""
    for job in client.watch(sorted(board.live)):
        run, ended = board.live[job["id"]], output.has_ended(job)
        epoch = (job["progress"] or {}).get("epoch")
        is_due = time.monotonic() - run.looked >= AGAIN_SECONDS
        if ended or (epoch != run.epoch and is_due):
            run.epoch, run.looked = epoch, time.monotonic()
            look(client, run)
