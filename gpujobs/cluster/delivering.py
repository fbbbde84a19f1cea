"""The sending end of `deliver`: a file of the spool goes to a node in pieces, from where the last try has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gpujobs.errors import MachineError, from_wire
from gpujobs.failpoints import reach
from gpujobs.protocol import codec
from gpujobs.protocol.instructions import Arrived, Deliver, Put

PIECE_BYTES = 8 << 20


async def deliver(agent: Any, asked: Deliver) -> None:
    """Raises MachineError where the file cannot be read here, and what the node refuses."""
    blob = asked.blob
    offset = _count(await agent.put.remote(codec.write(Put(blob, None)), b""))
    try:
        with Path(asked.source).open("rb", buffering=0) as file:
            while offset < blob.bytes:
                reach("deliver.piece")
                file.seek(offset)
                piece = await asyncio.to_thread(file.read, min(PIECE_BYTES, blob.bytes - offset))
                if not piece:
                    raise MachineError(
                        f"{asked.source} has {offset} bytes; expected {blob.bytes}: it was changed"
                    )
                offset = _count(await agent.put.remote(codec.write(Put(blob, offset)), piece))
    except OSError as error:
        raise MachineError(f"{asked.source} cannot be read: {error.strerror}") from error


def _count(answer: Mapping[str, Any]) -> int:
    return codec.parse(Arrived, answer_of(answer)).bytes


def answer_of(said: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of an agent. Raises the error that it has said."""
    if "error" in said:
        raise from_wire(dict(said["error"]))
    answer: Mapping[str, Any] = said["answer"]
    return answer
