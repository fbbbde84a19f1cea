"""The agent watches a supervisor for as long as the attempt lasts that it was started for, or was handed."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from gpujobs.node.attempts import Attempt
from gpujobs.node.following import Following
from gpujobs.paths import StatePaths
from gpujobs.protocol.events import Exited
from gpujobs.protocol.records import AttemptKey
from tests.specs import exit_record


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_one_that_goes_on_with_other_attempts_costs_no_descriptor_for_those_that_have_ended(
    tmp_path: Path,
) -> None:
    async def follow() -> int:
        paths = StatePaths(tmp_path)
        following = Following(paths.agent_socket)
        before = descriptors()
        for job in range(1, 20):
            key = AttemptKey(job, 1, "3f")
            following.follow(Attempt(paths.job(job).attempt(1), key.nonce), os.getpid())
            assert descriptors() == before + 1
            following.emit(Exited(job, 1, "3f", exit_record(key=key), stays=True))
        return descriptors() - before

    assert asyncio.run(follow()) == 0
