"""Long lists as JSON in pieces: nobody's is made as a whole, and others are let in between two of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from aiohttp import web

from gpujobs.daemon.pauses import Pauses

T = TypeVar("T")

BATCH = 200
"""Entries that are written at a time."""


def listed(head: Mapping[str, Any], name: str, entries: Sequence[Any]) -> Iterator[bytes]:
    return joined(head, name, batched(entries))


def joined(head: Mapping[str, Any], name: str, batches: Iterable[Sequence[Any]]) -> Iterator[bytes]:
    """`{HEAD…, "NAME": […]}`."""
    return together(head, {name: batches})


def together(head: Mapping[str, Any], lists: Mapping[str, Iterable[Sequence[Any]]]) -> Iterator[bytes]:
    """`{HEAD…, "NAME": […], "NAME": […]}`: of each list its batches."""
    yield json.dumps(head)[:-1].encode()
    before = ", " if head else ""
    for name, batches in lists.items():
        yield f'{before}"{name}": ['.encode()
        before, between = ", ", ""
        for batch in batches:
            if batch:
                yield (between + ", ".join(map(json.dumps, batch))).encode()
                between = ", "
        yield b"]"
    yield b"}"


def batched(entries: Sequence[T]) -> Iterator[Sequence[T]]:
    return (entries[start : start + BATCH] for start in range(0, len(entries), BATCH))


async def write(request: web.Request, parts: Iterable[bytes]) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    pauses = Pauses()
    for part in parts:
        await response.write(part)
        await pauses.due()
    return response
