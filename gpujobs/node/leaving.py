"""What an attempt has left on a box that is not the daemon's: its checkpoint, what it has written of results, its log.
It is taken without trust, as results are: regular files of the job's user alone, and no more than is allowed."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from gpujobs.errors import GpujobsError, UsageError
from gpujobs.paths import JobPaths
from gpujobs.protocol.boxes import Leavings, Surveyed, TreeFile
from gpujobs.results.catalogue import open_file
from gpujobs.results.collect import Limits, chunks

CHECKPOINTS = ("checkpoint.npz", "checkpoint-older.npz")
"""As the trainer calls them; what else lies beside them stays."""

_OF_USER = re.compile(rf"work/(checkpoint/({'|'.join(map(re.escape, CHECKPOINTS))})|results/.+)")


def survey(job: JobPaths, number: int, owner: int, limit_bytes: int, wanted: Leavings) -> Surveyed:
    """Names as below the job's directory. Blocks: reads all of it, for the hashes."""
    parts: list[Callable[[], list[TreeFile]]] = []
    if wanted is not Leavings.RESULTS:
        parts += [lambda: _checkpoint(job, owner, limit_bytes)]
    if wanted is not Leavings.CHECKPOINT:
        parts += [lambda: _results(job, owner, limit_bytes), lambda: _log(job, number)]
    files: list[TreeFile] = []
    refused: list[str] = []
    for part in parts:
        try:
            files += part()
        except (GpujobsError, OSError) as error:
            refused.append(str(error))
    return Surveyed(tuple(files), tuple(refused))


def take(job: JobPaths, number: int, owner: int, name: str, offset: int, limit: int) -> bytes:
    """Raises UsageError where there is no such file, or none that is the user's."""
    with _open(job, number, owner, name) as file:
        file.seek(offset)
        return file.read(limit)


def _open(job: JobPaths, number: int, owner: int, name: str) -> BinaryIO:
    log = job.attempt(number).log
    if name == _below(job, log):
        return log.open("rb")
    if not _OF_USER.fullmatch(name):
        raise UsageError(f"{name} is nothing that an attempt leaves")
    return open_file(str(job.root), name, owner)


def _below(job: JobPaths, path: Path) -> str:
    return str(path.relative_to(job.root))


def _checkpoint(job: JobPaths, owner: int, limit_bytes: int) -> list[TreeFile]:
    found, total = [], 0
    for name in CHECKPOINTS:
        path = job.checkpoint / name
        if os.path.lexists(path):
            with open_file(str(job.root), _below(job, path), owner) as file:
                total += os.fstat(file.fileno()).st_size
                if total > limit_bytes:
                    raise UsageError(f"the checkpoint has {total} bytes; at most {limit_bytes} are taken")
                found.append(_described(_below(job, path), file))
    return found


def _log(job: JobPaths, number: int) -> list[TreeFile]:
    log = job.attempt(number).log
    try:
        with log.open("rb") as file:
            return [_described(_below(job, log), file)]
    except FileNotFoundError:
        return []


def _described(name: str, file: BinaryIO) -> TreeFile:
    digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]  # a file that was opened to be read
    return TreeFile(name, digest, file.tell())


def _results(job: JobPaths, owner: int, limit_bytes: int) -> list[TreeFile]:
    if not job.results.is_dir():
        return []
    limits = Limits(total_bytes=limit_bytes)
    found = chunks(job.results, frozenset({owner, os.geteuid()}), limits)
    prefix = _below(job, job.results)
    return [
        _hashed(f"{prefix}/{name}", (content for _, content in pieces))
        for name, pieces in itertools.groupby(found, key=lambda one: one[0])
    ]


def _hashed(name: str, contents: Iterator[bytes]) -> TreeFile:
    digest, size = hashlib.sha256(), 0
    for content in contents:
        digest.update(content)
        size += len(content)
    return TreeFile(name, digest.hexdigest(), size)
