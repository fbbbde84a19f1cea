"""Looking at devices again and again, whatever becomes of a look."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gpujobs.daemon.devices import poller
from gpujobs.daemon.jobs.cache import JobCache
from gpujobs.errors import StoreError


class Nodes:
    looks = 0

    async def probe(self) -> None:
        self.looks += 1
        if self.looks == 1:
            raise StoreError("the store cannot be written: the disk is full")


def test_a_full_disk_does_not_end_the_looking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller, "IDLE_LOOK_SECONDS", 0.01)
    nodes: Any = Nodes()

    async def run() -> None:
        looks = poller.DevicePoller(JobCache([]), nodes, always=True)
        looks.begin()
        async with asyncio.timeout(5):
            while nodes.looks < 3:
                await asyncio.sleep(0.01)
        looks.end()

    asyncio.run(run())
