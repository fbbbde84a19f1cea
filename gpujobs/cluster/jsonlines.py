"""JSON lines on a stream."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any


async def read_lines(reader: asyncio.StreamReader) -> AsyncIterator[Mapping[str, Any]]:
    """Until the other end closes."""
    while line := await reader.readline():
        yield json.loads(line)


async def write_line(writer: asyncio.StreamWriter, message: Mapping[str, Any]) -> None:
    writer.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")
    await writer.drain()
