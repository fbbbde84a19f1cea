"""As after a power failure: everything ends at once, and of what was written some is gone, empty, halved or zeros."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from .box import Box
from .case import Case, completing, long_job


def gone(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)


def empty(path: Path) -> None:
    gone(path)
    path.touch()


def halved(path: Path) -> None:
    content = path.read_bytes() if path.is_file() else b"{"
    gone(path)
    path.write_bytes(content[: len(content) // 2])


def zeros(path: Path) -> None:
    size = path.stat().st_size if path.is_file() else 64
    gone(path)
    path.write_bytes(b"\0" * size)


def directory(path: Path) -> None:
    gone(path)
    path.mkdir()
    (path / "something").touch()


def link(path: Path) -> None:
    gone(path)
    path.symlink_to("/etc/hostname")


DAMAGES: tuple[Callable[[Path], None], ...] = (gone, empty, halved, zeros, directory, link)

OF_ATTEMPT = (
    "spec.json",
    "claim",
    "supervisor.lock",
    "record.json",
    "progress.json",
    "log.txt",
    "exit.json",
    "stop.json",
)
OF_JOB = ("attempt-1", "work", "work/checkpoint", "work/checkpoint/small.json")
OF_STATE = (
    "identity.json",
    "daemon.lock",
    "daemon.log",
    "run",
    "run/ray-token",
    "run/head.lock",
    "run/agent.sock",
    "ray",
)


def cases() -> Iterator[Case]:
    for name in OF_ATTEMPT:
        for damage in DAMAGES:
            run = partial(damaged, path=f"attempt-1/{name}", damage=damage)
            yield Case("damaged files of attempts", f"{name} {damage.__name__}", run)
    for name in OF_JOB:
        for damage in (gone, empty, directory):
            yield Case(
                "damaged files of attempts",
                f"{name} {damage.__name__}",
                partial(damaged, path=name, damage=damage),
            )
    for name in ("attempt-1/exit.json", "attempt-1/spec.json"):
        for damage in DAMAGES:
            run = partial(damaged_while_completing, path=name, damage=damage)
            yield Case("damaged files of attempts", f"{name} {damage.__name__}, job COMPLETING", run)
    for name in OF_STATE:
        for damage in (gone, empty, zeros, directory):
            run = partial(damaged_state, path=name, damage=damage)
            yield Case("damaged files of the state", f"{name} {damage.__name__}", run, is_fresh=True)
    yield Case("damaged files of attempts", "all that was not fsynced is gone", unsynced)


def job_directory(box: Box, job: int) -> Path:
    return box.state / "spool" / "jobs" / str(job)


def damaged(box: Box, *, path: str, damage: Callable[[Path], None]) -> None:
    job = long_job(box)
    box.cut_power()
    damage(job_directory(box, job) / path)
    box.start(wait=False)


def damaged_while_completing(box: Box, *, path: str, damage: Callable[[Path], None]) -> None:
    """What it has left may be damaged so that it cannot be believed: then it may fail, with the reason."""
    with completing(box, expect=("COMPLETED", "FAILED")) as job:
        box.cut_power()
        damage(job_directory(box, job) / path)
    box.start(wait=False)


def damaged_state(box: Box, *, path: str, damage: Callable[[Path], None]) -> None:
    long_job(box)
    box.cut_power()
    damage(box.state / path)
    box.start(wait=False)


def unsynced(box: Box) -> None:
    job = long_job(box)
    box.cut_power()
    for name in ("progress.json", "log.txt", "supervisor.lock"):
        empty(job_directory(box, job) / "attempt-1" / name)
    box.start(wait=False)
