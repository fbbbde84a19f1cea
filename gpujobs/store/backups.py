"""Copies of the store as files: what is in one, and putting one back where no daemon runs."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from gpujobs.errors import MachineError, StoreError, UsageError
from gpujobs.failpoints import reach
from gpujobs.linux import durable
from gpujobs.model import utc_now
from gpujobs.paths import StatePaths
from gpujobs.store import opening
from gpujobs.store.database import check
from gpujobs.store.reader import UNFINISHED_STATES

FORMAT = 1
DATABASE = "gpujobs.db"
CONFIG = "gpujobs.toml"
MANIFEST = "backup.json"
"""Written last: a directory without it is no whole copy."""

SHOWN = 10


@dataclass(frozen=True, slots=True)
class Backup:
    """A whole copy, whose database is what was written."""

    directory: Path
    manifest: Mapping[str, Any]

    @property
    def database(self) -> Path:
        return self.directory / DATABASE

    @property
    def made_at(self) -> datetime:
        return datetime.fromisoformat(self.manifest["made_at"])


def write_manifest(directory: Path, manifest: Mapping[str, Any]) -> None:
    """Durably, with the names of the files before it."""
    path = directory / MANIFEST
    with path.open("x") as file:
        json.dump(manifest, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    durable.sync_directory(directory)


def read_backup(directory: Path) -> Backup:
    """Raises UsageError where it is no copy, StoreError where it is damaged."""
    try:
        manifest = json.loads((directory / MANIFEST).read_text())
        expected, version = manifest["sha256"], manifest["format"]
        backup = Backup(directory, manifest)
        _ = backup.made_at
    except FileNotFoundError:
        raise UsageError(
            f"{directory} has no {MANIFEST}, so it is no whole copy; expected a directory that `gpujobs backup` "
            "has made"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{directory / MANIFEST} cannot be read: {error}; take another copy") from error
    if version != FORMAT:
        raise UsageError(f"{directory} is a copy in format {version}; this gpujobs knows {FORMAT}")
    try:
        with backup.database.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StoreError(f"{backup.database} cannot be read: {error.strerror}; take another copy") from error
    if found != expected:
        raise StoreError(
            f"{backup.database} is damaged: its SHA-256 is {found[:12]}..., expected {expected[:12]}...; "
            "take another copy"
        )
    _require_whole(backup.database)
    return backup


def _require_whole(path: Path) -> None:
    connection = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)
    try:
        if problems := check(connection):
            raise StoreError(f"{path} is damaged: {'; '.join(problems)}; take another copy")
    finally:
        connection.close()


@dataclass(frozen=True, slots=True)
class Newer:
    """What the state directory has that a copy does not know."""

    highest: int
    """The highest number that was given, as far as anything tells."""

    results: list[int]
    """Directories of results of jobs that the copy does not know, or knows as not ended."""

    spool: list[int]
    """The same in the spool: jobs that were waiting, running, or have failed since."""

    waiting: list[int]
    """Jobs that the copy has as not ended: they are taken up again where it left them."""


def newer_than(paths: StatePaths, backup: Backup) -> Newer:
    states = _states(backup.database)
    ended = {job for job, state in states.items() if state not in UNFINISHED_STATES}
    highest = max([opening.look(paths).highest, _highest_in(paths.database), *states], default=0)
    return Newer(
        highest,
        sorted(_numbers_in(paths.results) - ended),
        sorted(_numbers_in(paths.spool / "jobs") - states.keys()),
        sorted(states.keys() - ended),
    )


def _states(database: Path) -> dict[int, str]:
    connection = sqlite3.connect(f"file:{database}?mode=ro&immutable=1", uri=True)
    try:
        return dict(connection.execute("SELECT id, state FROM jobs"))
    except sqlite3.Error as error:
        raise StoreError(f"{database} has no jobs that can be read: {error}") from error
    finally:
        connection.close()


def _highest_in(database: Path) -> int:
    """Of the store that is there now; 0 where there is none, or none that can be read."""
    if not database.exists():
        return 0
    try:
        connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    except sqlite3.Error:
        return 0
    try:
        row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'jobs'").fetchone()
        return int(row[0]) if row else 0
    except sqlite3.Error:
        return 0
    finally:
        connection.close()


def _numbers_in(directory: Path) -> set[int]:
    if not directory.is_dir():
        return set()
    return {int(path.name) for path in directory.iterdir() if re.fullmatch(r"\d{1,18}", path.name)}


def describe(backup: Backup, newer: Newer, paths: StatePaths) -> list[str]:
    """What the copy is, what is newer than it, and what will be done."""
    known = int(backup.manifest["highest"])
    lines = [
        f"The copy in {backup.directory} was made on {backup.made_at.astimezone():%Y-%m-%d %H:%M %Z}, "
        f"of jobs up to {known}."
    ]
    if newer.highest > known:
        lines.append(f"Since then numbers up to {newer.highest} were given; they are not given again.")
    if newer.results:
        lines.append(
            f"Results that it does not list, of jobs {_some(newer.results)}: they stay in {paths.results}, but "
            "`gpujobs results` does not show them."
        )
    if newer.spool:
        lines.append(
            f"Jobs that it does not know, in {paths.spool / 'jobs'}: {_some(newer.spool)}. They are not queued again; "
            "trainers of theirs that still run go on unseen, and should be ended first."
        )
    if newer.waiting:
        lines.append(
            f"Jobs that had not ended when it was made, and are taken up again from there: {_some(newer.waiting)}. One "
            "that has results by now trains once more, and the results that are there are kept aside."
        )
    if paths.database.exists():
        lines.append(f"The store that is there now is kept, in {paths.root}/before-restore-TIME.")
    return lines


def _some(numbers: list[int]) -> str:
    text = ", ".join(map(str, numbers[:SHOWN]))
    return text if len(numbers) <= SHOWN else f"{text} and {len(numbers) - SHOWN} more"


def aside(paths: StatePaths) -> Path:
    return paths.root / f"before-restore-{utc_now():%Y%m%dT%H%M%S}"


def restore(paths: StatePaths, backup: Backup, newer: Newer) -> Path | None:
    """Puts the copy in the store's place. The caller holds the state's lock. Returns where the old one is now.

    Raises MachineError: then the old one is where it was. Where the machine stops in between, the store is missing, and
    another call puts the copy in place."""
    incoming, kept = paths.database.with_name(DATABASE + ".restoring"), aside(paths)
    try:
        incoming.unlink(missing_ok=True)
        shutil.copyfile(backup.database, incoming)
        incoming.chmod(0o600)
        with incoming.open("rb") as file:
            os.fsync(file.fileno())
        reach("restore.aside")
        old = _move_aside(paths, kept)
        reach("restore.rename")
        durable.rename(incoming, paths.database)
    except OSError as error:
        with contextlib.suppress(OSError):
            incoming.unlink(missing_ok=True)
        raise MachineError(
            f"{error.filename}: {error.strerror}; the copy was not put in place{_moved_back(paths, kept)}"
        ) from error
    store, _ = opening.open_store(paths)
    try:
        store.go_on_above(newer.highest)
    finally:
        store.close()
    return old


def _files(directory: Path) -> list[Path]:
    return [directory / (DATABASE + end) for end in ("", "-wal", "-shm")]


def _moved_back(paths: StatePaths, kept: Path) -> str:
    """After an error; empty text where nothing is left to say."""
    if paths.database.exists():  # the copy is in place, or nothing was moved
        return ""
    try:
        for path in filter(Path.exists, _files(kept)):
            durable.rename(path, paths.root / path.name)
        with contextlib.suppress(FileNotFoundError):
            kept.rmdir()
    except OSError as error:
        return f", and the store is in {kept}: {error.strerror}"
    return ""


def _move_aside(paths: StatePaths, target: Path) -> Path | None:
    """The database with its write-ahead log, which is a part of it."""
    there = [path for path in _files(paths.root) if path.exists()]
    if not there:
        return None
    target.mkdir(mode=0o700)
    for path in there:
        durable.rename(path, target / path.name)
    return target
