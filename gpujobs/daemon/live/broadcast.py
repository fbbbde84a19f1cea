"""One picture for each tick, shared by all who see the same; each viewer has a bounded buffer, and one that does not
read is dropped. Who comes back with the id of what it read last gets what it has missed."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from gpujobs.daemon.jobs.cache import JobCache, Watcher
from gpujobs.errors import GpujobsError
from gpujobs.view.now import Now, difference, difference_to_json, now_to_json

BETWEEN_SECONDS = 0.5
"""Nobody reads faster."""

DEVICES_SECONDS = 2.0
"""NVML tells nobody of a change: while somebody looks at the devices, they are read so often."""

BUFFERED = 32
"""Pieces that may wait for a viewer who does not read."""

KEPT = 64
"""Pieces that are kept for those who come back."""

LARGE_ROWS, BATCH = 1000, 200
"""Of a picture that is compared and written in a thread, and those of it that are written at a time: nobody else
computes meanwhile."""

LINGER_SECONDS = 60.0
LINGERING = 64
"""Channels without viewers that are kept, for so long at most, for those who come back."""

T = TypeVar("T")

log = logging.getLogger(__name__)


class ChannelEnded(Exception):
    """The viewers' rights have changed: whoever goes on looking asks anew."""


Apart = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Does what only computes in a thread, and returns what it returns."""

Render = Callable[[], Awaitable[Now]]
"""Raises ChannelEnded."""


@dataclass(frozen=True, slots=True)
class Piece:
    """`body` is JSON: a whole picture, or how it differs from the one before."""

    id: str
    is_whole: bool
    body: bytes


class Viewer:
    """`drop` closes the connection of one that does not read."""

    def __init__(self, drop: Callable[[], None]) -> None:
        self._drop = drop
        self._pieces: deque[Piece] = deque()
        self._wake = asyncio.Event()
        self._is_over = False

    def give(self, piece: Piece) -> None:
        if len(self._pieces) >= BUFFERED:
            self._pieces.clear()
            self.end()
            self._drop()
        elif not self._is_over:
            self._pieces.append(piece)
            self._wake.set()

    def end(self) -> None:
        self._is_over = True
        self._wake.set()

    async def next(self) -> Piece | None:
        """None at the end."""
        while not self._pieces and not self._is_over:
            self._wake.clear()
            await self._wake.wait()
        return self._pieces.popleft() if self._pieces else None


class Look:
    """Has the devices read, for all channels together, no more often than is of use."""

    def __init__(self, read: Callable[[], Awaitable[object]]) -> None:
        self._read = read
        self._at = 0.0

    async def due(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._at < DEVICES_SECONDS:
            return
        self._at = now
        try:
            await self._read()
        except GpujobsError as error:
            log.warning("the devices were looked at in vain: %s", error)


class Channel:
    """All viewers of one picture. `ids`: the jobs whose changes change it, None for all; it ends when they have."""

    def __init__(
        self, cache: JobCache, apart: Apart, render: Render, ids: frozenset[int] | None, look: Look | None
    ) -> None:
        self._cache = cache
        self._apart = apart
        self._render = render
        self._ids = ids
        self._look = look
        self._run_id = secrets.token_hex(8)
        self._number = 0
        self._now = Now()
        self._whole: Piece | None = None
        self._changes: deque[Piece] = deque(maxlen=KEPT)
        self._task: asyncio.Task[None] | None = None
        self._drawing = asyncio.Lock()
        """One picture after the other."""
        self.viewers: set[Viewer] = set()

    @property
    def is_idle(self) -> bool:
        return not self._drawing.locked() and (self._task is None or self._task.done())

    async def join(self, viewer: Viewer, last_id: str | None) -> None:
        """Raises ChannelEnded."""
        watcher = self._cache.watch(self._ids)  # what changes from now on is heard of
        try:
            async with self._drawing:
                was_over = self._is_over  # what ends while it is drawn is drawn once more
                if not self.viewers:
                    await self._publish()
                for piece in await self._missed(last_id):
                    viewer.give(piece)
                self.viewers.add(viewer)
        except BaseException:
            self._cache.unwatch(watcher)
            raise
        if not self.is_idle:
            self._cache.unwatch(watcher)
            return
        if was_over:
            self._cache.unwatch(watcher)
            viewer.end()
            return
        self._task = asyncio.create_task(self._run(watcher))
        self._task.add_done_callback(lambda _: self._cache.unwatch(watcher))

    def leave(self, viewer: Viewer) -> None:
        self.viewers.discard(viewer)
        if not self.viewers and self._task is not None:
            self._task.cancel()
            self._task = None

    async def _missed(self, last_id: str | None) -> list[Piece]:
        """What has come since, where that is known; else the whole picture. `_drawing` is held."""
        known = [self._id(self._number), *(piece.id for piece in self._changes)]
        if last_id == known[0]:
            return []
        before = self._id(self._number - len(self._changes))
        if last_id is not None and len(self._changes) < BUFFERED and last_id in (before, *known):
            return [piece for piece in self._changes if _number(piece.id) > _number(last_id)]
        return [await self._picture()]

    @property
    def _is_over(self) -> bool:
        return self._ids is not None and not self._cache.jobs.keys() & self._ids

    async def _picture(self) -> Piece:
        if self._whole is None or self._whole.id != self._id(self._number):
            now = self._now
            body = await self._computed(lambda: encoded(now_to_json(now)), len(now.rows))
            self._whole = Piece(self._id(self._number), True, body)
        return self._whole

    async def _computed(self, work: Callable[[], T], rows: int) -> T:
        if rows < LARGE_ROWS:
            return work()
        done: T = await self._apart(work)
        return done

    def _id(self, number: int) -> str:
        return f"{self._run_id}-{number}"

    async def _publish(self) -> None:
        """`_drawing` is held."""
        before, now = self._now, await self._render()
        body = await self._computed(lambda: _change(before, now), len(before.rows) + len(now.rows))
        self._now = now
        if body is None:
            return
        self._number += 1
        piece = Piece(self._id(self._number), False, body)
        self._changes.append(piece)
        for viewer in list(self.viewers):
            viewer.give(piece)

    async def _run(self, watcher: Watcher) -> None:
        try:
            was_over = False
            while not was_over:
                await asyncio.sleep(BETWEEN_SECONDS)
                with suppress(TimeoutError):
                    async with asyncio.timeout(DEVICES_SECONDS if self._look else None):
                        await watcher.changed()
                if self._look:
                    await self._look.due()
                async with self._drawing:
                    was_over = self._is_over
                    await self._publish()
        except ChannelEnded:
            pass
        except Exception:
            log.exception("a picture could not be drawn")
        for viewer in self.viewers:
            viewer.end()


class Broadcaster:
    def __init__(self, cache: JobCache, read_devices: Callable[[], Awaitable[object]], apart: Apart) -> None:
        self._cache = cache
        self._apart = apart
        self._look = Look(read_devices)
        self._channels: dict[Hashable, Channel] = {}
        self._joined: dict[Viewer, Channel] = {}
        self._empty: dict[Hashable, asyncio.TimerHandle] = {}

    async def join(
        self,
        key: Hashable,
        render: Render,
        viewer: Viewer,
        *,
        ids: frozenset[int] | None = None,
        last_id: str | None = None,
        with_devices: bool = False,
    ) -> None:
        """`key`: all that `render` depends on, the rights of whoever looks among it. Raises ChannelEnded."""
        if (timer := self._empty.pop(key, None)) is not None:
            timer.cancel()
        channel = self._channels.get(key)
        if channel is None or (channel.is_idle and last_id is None):
            channel = Channel(self._cache, self._apart, render, ids, self._look if with_devices else None)
            self._channels[key] = channel
        self._joined[viewer] = channel
        try:
            await channel.join(viewer, last_id)
        except BaseException:
            self.leave(key, viewer)
            raise
        self._channels.setdefault(key, channel)  # the last of the others may have left meanwhile

    def leave(self, key: Hashable, viewer: Viewer) -> None:
        channel = self._joined.pop(viewer, None)
        if channel is None:
            return
        channel.leave(viewer)
        if not channel.viewers and self._channels.get(key) is channel and key not in self._empty:
            loop = asyncio.get_running_loop()
            self._empty[key] = loop.call_later(LINGER_SECONDS, self._forget, key)
            if len(self._empty) > LINGERING:
                self._forget(next(iter(self._empty)))

    def _forget(self, key: Hashable) -> None:
        if (timer := self._empty.pop(key, None)) is not None:
            timer.cancel()
        if (channel := self._channels.get(key)) is not None and not channel.viewers:
            del self._channels[key]


def _number(id: str) -> int:
    return int(id.rpartition("-")[2])


def _change(before: Now, now: Now) -> bytes | None:
    change = difference(before, now)
    return None if change is None else encoded(difference_to_json(change))


def encoded(value: Mapping[str, Any]) -> bytes:
    """As JSON; a long list in it by parts, for the encoder lets no other thread compute."""
    fields = (f"{_dumped(name)}:{_in_parts(part)}" for name, part in value.items())
    return f"{{{','.join(fields)}}}".encode()


def _in_parts(value: Any) -> str:
    if not isinstance(value, list) or not value:
        return _dumped(value)
    parts = (value[start : start + BATCH] for start in range(0, len(value), BATCH))
    return f"[{','.join(_dumped(part)[1:-1] for part in parts)}]"


def _dumped(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
