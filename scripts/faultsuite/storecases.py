"""The store comes back from an older copy, is cut, or is not there; what was used before is not used again."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from .box import Box, Failure, until
from .case import Case, long_job


def cases() -> Iterator[Case]:
    for words, is_running in (("all ended", False), ("one running", True)):
        for by, restore in (("files", put_back), ("backup and restore", restored)):
            name = f"{by}, {words}"
            if by == "files" or has_backup():
                run = partial(older_store, restore=restore, is_running=is_running)
                yield Case("older store", name, run, is_fresh=True)
    yield Case("older store", "files, one waiting that has completed since", waiting_in_copy, is_fresh=True)
    for share in (0.0, 0.3, 0.6, 0.9):
        yield Case("write-ahead log", f"cut to {share:.0%}", partial(cut_log, share=share), is_fresh=True)
    yield Case("write-ahead log", "gone", partial(cut_log, share=None), is_fresh=True)
    yield Case("write-ahead log", "its index gone", index_gone, is_fresh=True)
    for name, damage in (("empty", b""), ("zeros", b"\0" * 8192), ("text", b"hello\n" * 999)):
        yield Case("damaged store", name, partial(damaged_store, content=damage), is_fresh=True)
    yield Case("damaged store", "gone, beside results", store_gone, is_fresh=True)


def has_backup() -> bool:
    from .box import ROOT

    return (ROOT / "gpujobs/cli/commands/backup.py").exists()


def _files(box: Box) -> list[Path]:
    return sorted(box.state.glob("gpujobs.db*"))


def forget(box: Box) -> None:
    """What was acknowledged since the copy may be unknown now; its numbers must not be given again."""
    box.used_before |= set(box.acknowledged)
    box.acknowledged.clear()


def older_store(box: Box, *, restore: Callable[[Box, Callable[[], None]], None], is_running: bool) -> None:
    box.must_submit()
    box.settle()

    def since() -> None:
        for _ in range(3):
            box.must_submit()
        box.settle()
        if is_running:
            long_job(box, seconds=3)

    restore(box, since)
    unknown_ended(box)
    for _ in range(4):
        box.must_submit("again", 6)


def waiting_in_copy(box: Box) -> None:
    """It is trained once more: as another attempt, by a number that was not given before."""
    job = box.must_submit("again", 6, "--hold")

    def since() -> None:
        box.cli("release", job)
        box.settle()

    put_back(box, since)
    box.ready()
    box.cli("release", job)
    box.until_state(job, "COMPLETED")


def put_back(box: Box, since: Callable[[], None]) -> None:
    copy = box.root / "copy.db"
    with sqlite3.connect(box.database) as store:
        store.execute("VACUUM INTO ?", (str(copy),))
    store.close()
    since()
    box.kill_daemon()
    for path in _files(box):
        path.unlink()
    shutil.copy(copy, box.database)
    forget(box)
    box.start(wait=False)


def restored(box: Box, since: Callable[[], None]) -> None:
    copy = box.root / "backup"
    done = box.cli("backup", copy)
    if done.returncode != 0:
        raise Failure("wrong", f"backup: {done.stderr}")
    since()
    box.kill_daemon()
    done = box.cli("restore", copy, "--yes")
    if done.returncode != 0:
        raise Failure("wrong", f"restore: {done.stderr}")
    forget(box)
    box.start(wait=False)


def cut_log(box: Box, *, share: float | None) -> None:
    for _ in range(2):
        box.must_submit()
    box.settle()
    long_job(box, seconds=3)
    box.kill_daemon()
    log = box.database.with_name("gpujobs.db-wal")
    content = log.read_bytes() if log.exists() else b""
    box.database.with_name("gpujobs.db-shm").unlink(missing_ok=True)
    if share is None:
        log.unlink(missing_ok=True)
    else:
        log.write_bytes(content[: int(len(content) * share)])
    forget(box)
    box.start(wait=False)
    unknown_ended(box)
    for _ in range(4):
        box.must_submit("again", 6)


def unknown_ended(box: Box) -> None:
    """A trainer that the store knows no more trains on, beside others where its device is no GPU; `doctor` names it."""
    box.ready()
    known = box.jobs()

    def unknown() -> bool:
        running = {
            line.partition("supervisor: job ")[2].partition(".")[0] for line in box.processes().values()
        }
        return any(number.isdigit() and int(number) not in known for number in running)

    if unknown() and "unknown trainer" not in box.cli("doctor").stdout and unknown():
        raise Failure("wrong", "a trainer runs that no job knows, and `doctor` does not say so")
    until(lambda: not unknown(), 30, "the unknown trainer ends")


def index_gone(box: Box) -> None:
    long_job(box)
    box.kill_daemon()
    box.database.with_name("gpujobs.db-shm").unlink(missing_ok=True)
    box.start(wait=False)


def damaged_store(box: Box, *, content: bytes) -> None:
    """It is not served, and the reason is said; with the right one back all is well."""
    box.must_submit()
    box.settle()
    box.cli("stop")
    assert box.daemon is not None
    box.is_to_run = False
    box.daemon.wait(60)
    kept = box.root / "kept"
    kept.mkdir()
    for path in _files(box):
        path.rename(kept / path.name)
    box.database.write_bytes(content)
    offset = box.log.stat().st_size
    box.start(wait=False)
    box.is_to_run = False
    daemon = box.daemon
    until(lambda: daemon.poll() is not None or box.get("/v1/info"), None, "the store is served or refused")
    said = box.log.read_text(errors="replace")[offset:]
    if daemon.poll() is None and content:
        if box.jobs():
            raise Failure("wrong", "a damaged store is served")
    elif "Traceback" in said or not said.strip():
        raise Failure("wrong", f"a damaged store: {said[-400:]}")
    box.cut_power()
    for path in _files(box):
        path.unlink()
    for path in kept.iterdir():
        path.rename(box.state / path.name)
    box.start(wait=False)


def store_gone(box: Box) -> None:
    """Results are there, so numbers were used."""
    for _ in range(3):
        box.must_submit()
    box.settle()
    box.kill_daemon()
    for path in _files(box):
        path.unlink()
    forget(box)
    box.start(wait=False)
    box.ready()
    until(lambda: box.must_submit("again", 6), 30)
