"""The receiving end of `bring_home`: what an attempt has left on another box comes in pieces, from where the last try
has ended, and gets its name, its hash, only when it is whole."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections import deque
from collections.abc import AsyncIterator, Mapping
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
"""Pieces that are on their way at once."""

PARTIAL = ".partial-"
OPEN = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC


async def bring_home(agent: Any, asked: BringHome) -> Surveyed:
    """`destination` is a directory that exists. Raises MachineError where something cannot be stored, has changed on
    its way, or cannot be reached, and what the node refuses."""
    answer = asked.survey.read(answer_of(await agent.carry_out.remote(written(asked.survey))))
    destination = Path(asked.destination)
    for file in answer.files:
        if not (destination / file.sha256).exists():
            await _bring(agent, asked, file, destination)
    return answer


async def _bring(agent: Any, asked: BringHome, file: TreeFile, destination: Path) -> None:
    partial = destination / f"{PARTIAL}{file.sha256}"
    try:
        with os.fdopen(os.open(partial, OPEN, 0o600), "a+b", buffering=0) as target:
            digest = await asyncio.to_thread(_digest_of, target)
            async for piece in _pieces(agent, asked, file, target.tell()):
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


async def _pieces(agent: Any, asked: BringHome, file: TreeFile, begin: int) -> AsyncIterator[bytes]:
    """In order; some are asked for ahead, so that the line is never idle."""
    offsets = iter(range(begin, file.bytes, PIECE_BYTES))
    under_way: deque[Any] = deque()
    while True:
        while len(under_way) < AHEAD and (offset := next(offsets, None)) is not None:
            limit = min(PIECE_BYTES, file.bytes - offset)
            take = Take(asked.survey.attempt, file.name, offset, limit)
            under_way.append(agent.take.remote(codec.write(take)))
        if not under_way:
            return
        piece = await under_way.popleft()
        yield piece if isinstance(piece, bytes) else _refused(piece)


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
