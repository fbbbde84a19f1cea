"""A difference carries all that has changed; who does not read is dropped, who comes back misses nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpujobs.daemon.jobs.cache import JobCache
from gpujobs.daemon.live import broadcast
from gpujobs.daemon.live.broadcast import BUFFERED, Broadcaster, ChannelEnded, Piece, Viewer
from gpujobs.model import Job, State
from gpujobs.store.store import Store
from gpujobs.view.now import (
    Now,
    Row,
    applied,
    difference,
    difference_from_json,
    difference_to_json,
    now_from_json,
    now_to_json,
)
from gpujobs.view.order import rows
from tests.unit.daemon.queued import job
from tests.unit.store.jobs import A, new_job

T = TypeVar("T")

keys = st.lists(st.integers(1, 6), unique=True, max_size=6)
pictures = st.builds(
    lambda ids, words, total, notices: Now(
        tuple(Row(f"j{id}", id % 2 == 0, words, {"job": {"id": id, "name": words}}) for id in ids),
        total,
        tuple(notices),
        ({"index": total, "jobs": ids},),
    ),
    keys,
    st.sampled_from(["waits", "runs", "\x1b[31m<script>"]),
    st.integers(0, 3),
    st.lists(st.text(max_size=3), max_size=2),
)


@given(pictures, pictures)
def test_what_is_left_out_of_a_difference_has_not_changed(before: Now, after: Now) -> None:
    change = difference(before, after)
    assert (change is None) == (before == after)
    if change is not None:
        told = difference_from_json(json.loads(json.dumps(difference_to_json(change))))
        assert applied(before, told) == after
        assert all(row in after.rows and row not in before.rows for row in told.put)
    assert now_from_json(json.loads(json.dumps(now_to_json(after)))) == after


def test_own_jobs_come_first_among_those_that_have_not_ended() -> None:
    def of(uid: int, job: Job) -> Job:
        from dataclasses import replace

        return replace(job, uid=uid)

    jobs = [
        of(2, job(1, State.RUNNING)), of(1, job(2)), of(2, job(3, priority=9)), of(1, job(4, State.RUNNING)),
        of(1, job(5, State.COMPLETED)), of(2, job(6, State.FAILED)),
    ]  # fmt: skip
    assert [row.id for row in rows(jobs, unfolded=False, own_uid=1) if isinstance(row, Job)] == [
        4,
        2,
        1,
        3,
        5,
        6,
    ]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> JobCache:
    monkeypatch.setattr(broadcast, "BETWEEN_SECONDS", 0.001)
    return JobCache(Store(tmp_path / "s.db").submit(A, "k", [new_job()]))


class Box:
    """A picture with a number that tests change, and how often it was drawn."""

    def __init__(self, cache: JobCache) -> None:
        self.live = Broadcaster(cache, self._read, self._work_apart)
        self._cache = cache
        self.number = self.drawn = self.apart = 0
        self.rows: tuple[Row, ...] = ()
        self.is_over = False
        self.meanwhile: Callable[[], None] = lambda: None
        """Happens while a picture is drawn, and is not in it."""

    async def _read(self) -> None:
        pass

    async def _work_apart(self, work: Callable[[], T]) -> T:
        self.apart += 1
        return await asyncio.to_thread(work)

    async def render(self) -> Now:
        if self.is_over:
            raise ChannelEnded
        self.drawn += 1
        now = Now(self.rows, total=self.number)
        self.meanwhile()
        return now

    def change(self) -> None:
        self.number += 1
        self._cache.tell(1)

    def end(self) -> None:
        """The last job, once."""
        self.meanwhile = lambda: None
        self.number += 1
        self._cache.jobs.clear()
        self._cache.tell(1)

    async def join(
        self, last_id: str | None = None, drop: Any = lambda: None, ids: frozenset[int] | None = None
    ) -> Viewer:
        viewer = Viewer(drop)
        await self.live.join("key", self.render, viewer, last_id=last_id, ids=ids)
        return viewer


async def total(viewer: Viewer) -> tuple[Piece, int]:
    piece = await viewer.next()
    assert piece is not None
    return piece, json.loads(piece.body)["total"]


def test_fifty_viewers_cost_one_picture(cache: JobCache) -> None:
    async def look() -> None:
        box = Box(cache)
        viewers = [await box.join() for _ in range(50)]
        assert box.number == 0 and [(await total(one))[0].is_whole for one in viewers] == [True] * 50
        drawn = box.drawn
        await asyncio.sleep(0.01)
        box.change()
        assert [(await total(one))[1] for one in viewers] == [1] * 50
        assert box.drawn == drawn + 1
        for one in viewers:
            box.live.leave("key", one)

    asyncio.run(look())


def test_a_long_picture_is_compared_and_written_beside_the_loop(cache: JobCache) -> None:
    """A short one is not: it would wait for those that are read there."""

    async def look(rows: int) -> tuple[int, Now, Now]:
        box = Box(cache)
        box.rows = tuple(Row(f"j{n}", True, "", {"job": {"id": n}}) for n in range(rows))
        viewer = await box.join()
        first = await viewer.next()
        assert first is not None and first.is_whole
        seen = now_from_json(json.loads(first.body))
        box.change()
        change = await viewer.next()
        assert change is not None
        box.live.leave("key", viewer)
        return box.apart, seen, applied(seen, difference_from_json(json.loads(change.body)))

    assert asyncio.run(look(100))[0] == 0
    apart, seen, after = asyncio.run(look(broadcast.LARGE_ROWS))
    assert apart == 3  # the first difference, the whole picture, what is new in it
    assert [row.key for row in seen.rows] == [f"j{n}" for n in range(broadcast.LARGE_ROWS)]
    assert after == replace(seen, total=1)


@pytest.mark.parametrize("count", [0, 1, 199, 200, 201, 401])
def test_a_long_list_in_parts_is_the_list(count: int) -> None:
    value = {"rows": [{"id": n, "says": 'ü"]'} for n in range(count)], "order": ("a",), "total": count}
    assert broadcast.encoded(value) == json.dumps(value, separators=(",", ":")).encode()


def test_who_comes_back_gets_what_was_missed_and_no_more(cache: JobCache) -> None:
    async def look() -> None:
        box = Box(cache)
        first, other = await box.join(), await box.join()
        await total(first)
        await total(other)
        box.change()
        seen, _ = await total(first)
        await total(other)
        box.live.leave("key", first)
        for _ in range(3):
            box.change()
            await total(other)
        back = await box.join(seen.id)
        told = [await total(back) for _ in range(3)]
        assert [number for _, number in told] == [2, 3, 4] and not any(piece.is_whole for piece, _ in told)
        box.live.leave("key", other)
        box.live.leave("key", back)
        box.number = 9  # while nobody looks
        again, number = await total(await box.join(told[-1][0].id))
        assert (number, again.is_whole) == (9, False)
        whole, number = await total(await box.join("of-another-daemon-7"))
        assert (number, whole.is_whole) == (9, True)

    asyncio.run(look())


def test_who_does_not_read_is_dropped_and_the_others_are_not(cache: JobCache) -> None:
    async def look() -> None:
        box, dropped = Box(cache), list[str]()
        stalled, reader = await box.join(drop=lambda: dropped.append("stalled")), await box.join()
        await total(reader)
        for _ in range(BUFFERED + 1):
            box.change()
            _, seen = await total(reader)
        assert seen == BUFFERED + 1 and dropped == ["stalled"]
        assert await stalled.next() is None, "nothing is kept for it"

    asyncio.run(look())


def test_a_change_of_rights_ends_the_picture(cache: JobCache) -> None:
    async def look() -> None:
        box = Box(cache)
        viewer = await box.join()
        await total(viewer)
        box.is_over = True
        box.change()
        assert await viewer.next() is None

    asyncio.run(look())


@pytest.mark.parametrize("picture", ["first", "later"])
def test_the_last_picture_shows_what_ended_while_it_was_drawn(cache: JobCache, picture: str) -> None:
    async def look() -> list[int]:
        box = Box(cache)
        if picture == "first":
            box.meanwhile = box.end
        viewer = await box.join(ids=frozenset({1}))
        if picture == "later":
            box.meanwhile = box.end
            box.change()
        seen = []
        async with asyncio.timeout(10):
            while (piece := await viewer.next()) is not None:
                seen.append(json.loads(piece.body)["total"])
        box.live.leave("key", viewer)
        return seen

    assert asyncio.run(look()) == ([0, 1] if picture == "first" else [0, 1, 2])
