"""How long a process that has ended is waited with, until it is started again. No process runs."""

from __future__ import annotations

import asyncio
import time

import pytest

from gpujobs.cluster import restart
from gpujobs.cluster.restart import Ended, keep

DIES, SERVES, LASTS = Ended("died"), Ended("died", has_served=True), None


def pauses(monkeypatch: pytest.MonkeyPatch, lives: list[Ended | None]) -> list[float]:
    """Until the process is started again after each of these lives. One of None lasts, and has done nothing."""
    now, found, left = 0.0, list[float](), iter(lives)

    async def run() -> Ended:
        nonlocal now
        life = next(left)
        now += restart.LASTING_SECONDS + 1 if life is None else 1.0
        return life or DIES

    async def slept(seconds: float) -> None:
        found.append(seconds)
        if len(found) == len(lives):
            raise asyncio.CancelledError

    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(asyncio, "sleep", slept)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(keep("head", run))
    return found


def test_what_cannot_start_is_tried_ever_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pauses(monkeypatch, [DIES] * 9) == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_what_has_served_before_it_ended_is_started_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However short it lived, and whatever the starts before it came to."""
    assert pauses(monkeypatch, [DIES, DIES, DIES, SERVES, SERVES, DIES]) == [1, 2, 4, 0.5, 0.5, 1]


def test_what_serves_and_dies_again_and_again_is_started_ever_less_often(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Until one has lasted."""
    lives = [SERVES, DIES, SERVES, SERVES, SERVES, SERVES, LASTS, SERVES]
    assert pauses(monkeypatch, lives) == [0.5, 1, 0.5, 0.5, 1, 2, 0.5, 0.5]


def test_what_has_lasted_is_started_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pauses(monkeypatch, [DIES, DIES, LASTS, DIES]) == [1, 2, 0.5, 1]
