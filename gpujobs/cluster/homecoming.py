"""The receiving end of `bring_home`: what an attempt has left on another box comes in pieces, from where the last try
has ended, and gets its name, its hash, only when it is whole.

Those of several jobs of a box come at once, and take turns piece by piece: a large file does not hold up the small ones
beside it, and all together have no more on their way than a box's places."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any, BinaryIO

from gpujobs.cluster.delivering import PIECE_BYTES, answer_of
from gpujobs.errors import MachineError
from gpujobs.failpoints import reach
from gpujobs.linux import durable
from gpujobs.protocol import codec
from gpujobs.protocol.boxes import BringHome, Surveyed, Take, TreeFile
from gpujobs.protocol.instructions import written

AHEAD = 3
"""Pieces of one job that are on their way at once, where no other job waits."""

PLACES = 4
"""Pieces of one box that are on their way at once, of all jobs together."""

PARTIAL = ".partial-"
OPEN = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC


class Places:
    """Of one box. A job that has nothing on its way waits for its turn, in the order of asking; one that has takes more
    only where nobody waits: so none waits for a place while it holds one."""

    def __init__(self, count: int = PLACES) -> None:
        self._free = asyncio.Semaphore(count)  # which serves in the order of asking

    async def take(self, *, has_some: bool) -> bool:
        """Whether there is one for it now."""
        if has_some and self._free.locked():
            return False
        await self._free.acquire()
        return True

    def give_back(self) -> None:
        self._free.release()


async def bring_home(agent: Any, asked: BringHome, places: Places) -> Surveyed:
    """`destination` is a directory that exists. Raises MachineError where something cannot be stored, has changed on
    its way, or cannot be reached, and what the node refuses."""
    answer = asked.survey.read(answer_of(await agent.carry_out.remote(written(asked.survey))))
    destination = Path(asked.destination)
    for file in answer.files:
        if not (destination / file.sha256).exists():
            await _bring(agent, asked, file, destination, places)
    return answer


async def _bring(agent: Any, asked: BringHome, file: TreeFile, destination: Path, places: Places) -> None:
    partial = destination / f"{PARTIAL}{file.sha256}"
    try:
        with os.fdopen(os.open(partial, OPEN, 0o600), "a+b", buffering=0) as target:
            digest = await asyncio.to_thread(_digest_of, target)
            async with aclosing(_pieces(agent, asked, file, target.tell(), places)) as pieces:
                async for piece in pieces:
                    reach("homecoming.piece")
                    await asyncio.to_thread(_append, target, digest, piece)
            await asyncio.to_thread(os.fsync, target.fileno())
            is_whole = target.tell() == file.bytes and digest.hexdigest() == file.sha256
        if not is_whole:
            partial.unlink()
            raise MachineError(f"{file.name} has changed on its way; it is asked for again")
        durable.rename(partial, destination / file.sha256)
    except OSError as error:
        raise MachineError(f"{file.name} cannot be stored: {error.strerror}: {partial}") from error


async def _pieces(
    agent: Any, asked: BringHome, file: TreeFile, begin: int, places: Places
) -> AsyncGenerator[bytes, None]:
    """In order; some are asked for ahead, so that the line is never idle."""
    offset, under_way = begin, deque[Any]()
    try:
        while offset < file.bytes or under_way:
            while (
                offset < file.bytes and len(under_way) < AHEAD and await places.take(has_some=bool(under_way))
            ):
                limit = min(PIECE_BYTES, file.bytes - offset)
                take = Take(asked.survey.attempt, file.name, offset, limit)
                under_way.append(agent.take.remote(codec.write(take)))
                offset += limit
            piece = await under_way[0]
            yield piece if isinstance(piece, bytes) else _refused(piece)
            under_way.popleft()
            places.give_back()
    finally:
        for _ in under_way:
            places.give_back()


def _refused(said: Mapping[str, Any]) -> bytes:
    """Raises the error that it is."""
    answer_of(said)
    raise MachineError(f"what a node says makes no sense: {said!r:.60}")


def _digest_of(target: BinaryIO) -> Any:
    """Of what has come before; leaves the file at its end."""
    target.seek(0)
    digest = hashlib.sha256()
    while chunk := target.read(1 << 20):
        digest.update(chunk)
    return digest


def _append(target: BinaryIO, digest: Any, piece: bytes) -> None:
    view = memoryview(piece)
    while view:
        view = view[target.write(view) :]
    digest.update(piece)
