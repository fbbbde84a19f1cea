"""What is done beside other work."""

from __future__ import annotations

import asyncio
import gc

from gpujobs.daemon.tasks import Locks


def test_whoever_comes_while_another_has_waited_waits_too() -> None:
    locks, log = Locks(), list[str]()

    async def work(name: str, begin: asyncio.Event, end: asyncio.Event) -> None:
        async with locks.of(7):
            log.append(f"{name} begins")
            begin.set()
            await end.wait()
            log.append(f"{name} ends")

    async def run() -> None:
        begun, over = ([asyncio.Event() for _ in range(3)] for _ in range(2))
        tasks = [asyncio.create_task(work("first", begun[0], over[0]))]
        await begun[0].wait()
        tasks.append(asyncio.create_task(work("second", begun[1], over[1])))
        await asyncio.sleep(0)
        over[0].set()
        await begun[1].wait()
        tasks.append(asyncio.create_task(work("third", begun[2], over[2])))
        await asyncio.sleep(0)
        async with locks.of(8):
            log.append("another job")
        for event in over:
            event.set()
        await asyncio.gather(*tasks)

    asyncio.run(run())
    assert log == [
        "first begins", "first ends", "second begins", "another job", "second ends", "third begins", "third ends",
    ]  # fmt: skip


def test_of_a_job_that_is_done_with_nothing_is_kept() -> None:
    locks = Locks()

    async def run() -> None:
        for job in range(3):
            async with locks.of(job):
                pass

    asyncio.run(run())
    gc.collect()
    assert not locks
