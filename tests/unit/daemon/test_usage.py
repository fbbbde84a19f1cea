"""What an attempt that has ended is charged."""

from __future__ import annotations

from datetime import timedelta

import pytest

from gpujobs.daemon.devices.usage import UsageCache
from gpujobs.model import utc_now
from gpujobs.policy.inputs.snapshot import Usage
from gpujobs.store.usage import EndedUsage

FOREVER = 1e12
"""A half-life in which nothing decays."""


def used(gpu_memory_bytes: int | None, device_memory_bytes: int | None, seconds: float = 100.0) -> EndedUsage:
    now = utc_now()
    return EndedUsage("a", now - timedelta(seconds=seconds), now, gpu_memory_bytes, device_memory_bytes)


def test_a_packed_job_is_charged_for_its_share_of_the_device() -> None:
    whole, packed = UsageCache([used(None, 1000)], {}, FOREVER), UsageCache([used(250, 1000)], {}, FOREVER)
    assert whole.usage["a"].gpu_seconds == pytest.approx(100)
    assert packed.usage["a"].gpu_seconds == pytest.approx(25)


def test_what_is_charged_besides_is_added() -> None:
    usage = UsageCache([used(None, None)], {"a": Usage(7.0, utc_now()), "b": Usage(3.0, utc_now())}, FOREVER)
    assert usage.usage["a"].gpu_seconds == pytest.approx(107)
    assert usage.usage["b"].gpu_seconds == pytest.approx(3)


def test_use_halves_in_a_half_life() -> None:
    usage = UsageCache(
        [EndedUsage("a", utc_now() - timedelta(hours=2), utc_now() - timedelta(hours=1), None, None)],
        {},
        3600,
    )
    before = usage.usage["a"].gpu_seconds
    usage.charge("a", 0.0, utc_now())
    assert usage.usage["a"].gpu_seconds == pytest.approx(before / 2, rel=0.01)
