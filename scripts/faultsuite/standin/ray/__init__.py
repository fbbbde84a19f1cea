"""In the place of Ray: an actor lives in the process that makes it. Its death is then that of the head."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator
from typing import Any


def init(**_: Any) -> None: ...


def shutdown() -> None: ...


def cluster_resources() -> dict[str, float]:
    return {}


class _Context:
    def get_node_id(self) -> str:
        return "here"


def get_runtime_context() -> _Context:
    return _Context()


def remote(actor: type) -> _Options:
    return _Options(actor)


class _Options:
    def __init__(self, actor: type) -> None:
        self._actor = actor

    def options(self, **_: Any) -> _Options:
        return self

    def remote(self, *arguments: Any) -> _Handle:
        return _Handle(self._actor(*arguments))


class _Handle:
    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def __getattr__(self, name: str) -> _Method:
        return _Method(getattr(self._actor, name))


class _Method:
    def __init__(self, method: Any) -> None:
        self._method = method

    def remote(self, *arguments: Any, **named: Any) -> Any:
        found = self._method(*arguments, **named)
        return _stream(found) if inspect.isasyncgen(found) else asyncio.ensure_future(found)


async def _stream(items: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """A generator of what is to be awaited, as Ray's streaming generators are."""
    async for item in items:
        done = asyncio.get_running_loop().create_future()
        done.set_result(item)
        yield done
