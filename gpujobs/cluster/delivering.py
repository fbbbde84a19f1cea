"""The sending end of `deliver`: a file of the daemon's box goes to a node in pieces, from where the last try ended.

Some pieces are on their way at once, so that the line is never idle. A content that goes to several boxes at once
leaves this one once: who asks later gets each piece from who has it already.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from gpujobs.errors import MachineError, NotFoundError, from_wire
from gpujobs.failpoints import reach
from gpujobs.linux.saying import say
from gpujobs.protocol import codec
from gpujobs.protocol.boxes import Arrived, Blob, Deliver, PassOn, Put
from gpujobs.results.catalogue import open_file

PIECE_BYTES = 8 << 20
AHEAD = 3
"""Pieces that are on their way at once."""

NEIGHBOUR_SECONDS = 10.0
"""That a piece is waited for which another box is to have soon."""


@dataclass(slots=True)
class _Box:
    """One that gets a content: how much of it has arrived there."""

    agent: Any
    arrived: int = 0
    more: asyncio.Event = field(default_factory=asyncio.Event)

    def reach(self, count: int) -> None:
        self.arrived = count
        self.more.set()

    async def has(self, count: int) -> bool:
        """Whether so much is there, or soon is."""
        try:
            async with asyncio.timeout(NEIGHBOUR_SECONDS):
                while self.arrived < count:
                    self.more.clear()
                    await self.more.wait()
        except TimeoutError:
            return False
        return True


class Deliveries:
    def __init__(self) -> None:
        self._lines: defaultdict[Blob, list[_Box]] = defaultdict(list)

    async def deliver(self, agent: Any, asked: Deliver) -> None:
        """Raises MachineError where the file cannot be read here, and what the node refuses."""
        line, box = self._lines[asked.blob], _Box(agent)
        before = line[-1] if line else None
        line.append(box)
        try:
            if before is not None and await _from_neighbour(box, asked, before):
                return
            await _from_here(box, asked)
        finally:
            line.remove(box)
            if not line:
                self._lines.pop(asked.blob, None)


async def _from_neighbour(box: _Box, asked: Deliver, before: _Box) -> bool:
    """False where that one, whatever it is with it, does not give it: then it comes from here."""

    async def piece(offset: int, limit: int) -> Any:
        if not await before.has(offset + limit):
            raise MachineError("the box before it has not got so far")
        return before.agent.pass_on.remote(codec.write(PassOn(asked.blob, offset, limit)))

    try:
        await _send(box, asked.blob, piece)
    except Exception as error:  # noqa: BLE001 - whatever Ray raises of that box
        say(f"data {asked.blob.sha256[:12]} comes from here, as no other box gives it: {error!r}")
        return False
    return True


async def _from_here(box: _Box, asked: Deliver) -> None:
    where = f"{asked.directory}/{asked.name}"
    try:
        with open_file(asked.directory, asked.name, asked.owner) as file:

            async def piece(offset: int, limit: int) -> bytes:
                reach("deliver.piece")
                content = await asyncio.to_thread(_read, file, offset, limit)
                if len(content) < limit:
                    has = f"{where} has {offset + len(content)} bytes"
                    raise MachineError(f"{has}; expected {asked.blob.bytes}: it was changed")
                return content

            await _send(box, asked.blob, piece)
    except NotFoundError as error:
        raise MachineError(str(error)) from error
    except OSError as error:
        raise MachineError(f"{where} cannot be read: {error.strerror}") from error


def _read(file: BinaryIO, offset: int, limit: int) -> bytes:
    file.seek(offset)
    return file.read(limit)


async def _send(box: _Box, blob: Blob, piece: Any) -> None:
    """`piece` gives the bytes at an offset, or what Ray will make them of."""
    offset = _count(await box.agent.put.remote(codec.write(Put(blob, None)), b""))
    box.reach(offset)
    under_way: deque[tuple[int, asyncio.Future[Any]]] = deque()
    while box.arrived < blob.bytes:
        while offset < blob.bytes and len(under_way) < AHEAD:
            limit = min(PIECE_BYTES, blob.bytes - offset)
            sent = box.agent.put.remote(codec.write(Put(blob, offset)), await piece(offset, limit))
            offset += limit
            under_way.append((offset, asyncio.ensure_future(sent)))
            under_way[-1][1].add_done_callback(_look_at)
        expected, answer = under_way.popleft()
        box.reach(_count(await answer))
        if box.arrived < expected:  # another brings it too, or a piece was lost: from there on anew
            if under_way:
                await asyncio.wait([later for _, later in under_way])
            under_way.clear()
            offset = box.arrived = _count(await box.agent.put.remote(codec.write(Put(blob, None)), b""))


def _look_at(answer: asyncio.Future[Any]) -> None:
    """Of the pieces that are on their way when one fails nobody asks what became of them."""
    if not answer.cancelled():
        answer.exception()


def _count(answer: Mapping[str, Any]) -> int:
    return codec.parse(Arrived, answer_of(answer)).bytes


def answer_of(said: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of an agent. Raises the error that it has said."""
    if "error" in said:
        raise from_wire(dict(said["error"]))
    answer: Mapping[str, Any] = said["answer"]
    return answer
