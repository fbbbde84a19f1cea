"""What attempts have left on this box: listed, read in pieces, surveyed for another box, collected."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from gpujobs.errors import MachineError
from gpujobs.node import leaving
from gpujobs.node.attempts import Attempt
from gpujobs.node.pieces import piece_of, read_log
from gpujobs.paths import StatePaths
from gpujobs.protocol import boxes
from gpujobs.protocol import instructions as told
from gpujobs.protocol.instructions import Piece, ResultFile, ResultFiles
from gpujobs.protocol.records import AttemptKey
from gpujobs.protocol.spec import SpecHead
from gpujobs.results.catalogue import list_files, open_file
from gpujobs.results.collect import Limits, RefusedResultError, chunks

LARGE_BYTES, LARGE_AT_ONCE = 64 << 20, 2
"""What attempts have left: of those that have left more, so many are read at once."""


class Left:
    """`state_id`: of this box's state directory."""

    def __init__(self, paths: StatePaths, state_id: str) -> None:
        self._paths = paths
        self._state_id = state_id
        self._surveying = asyncio.Semaphore(LARGE_AT_ONCE)

    def list_results(self, asked: told.ListResults) -> ResultFiles:
        paths = self._paths.job(asked.job)
        found = [ResultFile(name, size) for name, size in list_files(str(paths.results))]
        log = paths.attempt(asked.attempt).log
        return ResultFiles((*found, *([ResultFile("log.txt", log.stat().st_size)] if log.exists() else [])))

    def read_result(self, asked: told.ReadResult) -> Piece:
        """Raises UsageError where there is none of that name."""
        if asked.file == "log.txt":
            return read_log(self._paths, told.ReadLog(asked.job, asked.attempt, asked.offset, asked.limit))
        paths = self._paths.job(asked.job)
        owner = _owner(Attempt(paths.attempt(asked.attempt)).spec)
        with open_file(str(paths.results), asked.file, owner) as file:
            return piece_of(file, asked.offset, asked.limit)

    async def survey(self, asked: boxes.Survey) -> boxes.Surveyed:
        """Much is read for its hashes by a few at once, so that a thread is left for what is little."""
        job = self._paths.job(asked.attempt.job).work
        size = await asyncio.to_thread(lambda: sum(count for _, count in list_files(str(job))))
        is_large = min(size, asked.limit_bytes) > LARGE_BYTES  # beyond the limit nothing is read
        async with self._surveying if is_large else contextlib.nullcontext():
            return await asyncio.to_thread(self._survey, asked)

    def _survey(self, asked: boxes.Survey) -> boxes.Surveyed:
        """Raises RefusedResultError where the attempt is gone."""
        owner = _owner(self._spec_to_collect(asked.attempt))
        job = self._paths.job(asked.attempt.job)
        number, limit = asked.attempt.attempt, asked.limit_bytes
        return leaving.survey(job, number, owner, limit, asked.wanted)

    def take(self, asked: boxes.Take) -> bytes:
        """A part of what was surveyed. Blocks. Raises UsageError where it is not there any more."""
        owner = _owner(self._spec_to_collect(asked.attempt))
        job, number = self._paths.job(asked.attempt.job), asked.attempt.attempt
        return leaving.take(job, number, owner, asked.name, asked.offset, asked.limit)

    def collect(self, key: AttemptKey, limit_bytes: int) -> Iterator[tuple[str, bytes]]:
        """(name, chunk) of every result, and of the logs of all attempts: `log.txt` is the last one's.
        Raises RefusedResultError, also where the results have more than `limit_bytes`, and where they are gone;
        MachineError where they may come back."""
        paths = self._paths.job(key.job)
        owner = _owner(self._spec_to_collect(key))
        yield from chunks(paths.results, frozenset({owner, os.geteuid()}), Limits(total_bytes=limit_bytes))
        for number in range(1, key.attempt + 1):
            name = "log.txt" if number == key.attempt else f"log-{number}.txt"
            with contextlib.suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
                yield from _log_chunks(paths.attempt(number).log, name)

    def _spec_to_collect(self, key: AttemptKey) -> SpecHead:
        if not (self._paths.spool / "jobs").is_dir():
            raise MachineError(f"{self._paths.spool / 'jobs'} is not there; is its file system mounted?")
        attempt = Attempt(self._paths.job(key.job).attempt(key.attempt), key.nonce, self._state_id)
        spec = attempt.spec
        if spec is None:
            why = "; ".join(attempt.damages) or f"{attempt.paths.root} is gone"
            raise RefusedResultError(f"the results of job {key.job} cannot be collected: {why}")
        if spec.nonce != key.nonce:
            raise RefusedResultError(
                f"{attempt.paths.root} is of another attempt than the one that has ended"
            )
        return spec


def _log_chunks(path: Path, name: str) -> Iterator[tuple[str, bytes]]:
    with path.open("rb") as file:
        while chunk := file.read(8 << 20):
            yield name, chunk


def _owner(spec: SpecHead | None) -> int:
    """An earlier version has written no identity where it ran the attempt as the daemon's own user."""
    return os.geteuid() if spec is None or spec.uid is None else spec.uid
