"""Jobs that share a device: the memory plan, who goes where, who must leave."""

from __future__ import annotations

from typing import Any

import pytest

from gpujobs.model import Device, DeviceKind, Process, Reason
from gpujobs.policy import PendingJob, Rules, Snapshot
from gpujobs.policy.devices.memory import outgrown
from gpujobs.policy.inputs.rules import ForeignPolicy, PackingRules

from .box import GIB, NOW, gpu, gpus, later, node, packed, pending, run, started, whole


def sharing(id: int, gib: float, **values: Any) -> PendingJob:
    return pending(id, 0, gpu_memory=int(gib * GIB), **values)


def test_eight_jobs_of_a_tenth_share_one_device() -> None:
    decision = run([sharing(id, 8) for id in range(1, 9)], gpus(2))
    assert {start.device_uuid for start in decision.starts} == {"GPU-0"}
    assert [start.gpu_memory_bytes for start in decision.starts] == [8 * GIB] * 8


def test_the_margin_is_kept() -> None:
    rules = Rules(packing=PackingRules(margin_bytes=2 * GIB))
    assert len(run([sharing(1, 40), sharing(2, 38)], gpus(1), rules=rules).starts) == 2
    assert len(run([sharing(1, 40), sharing(2, 38.01)], gpus(1), rules=rules).starts) == 1


@pytest.mark.parametrize("requested_gpu", [None, 0])
def test_the_plan_is_kept_to_the_byte(requested_gpu: int | None) -> None:
    rest = 80 * GIB - PackingRules().margin_bytes - 8 * GIB
    for asked, starts in ((rest, 1), (rest + 1, 0)):
        job = pending(1, 0, requested_gpu=requested_gpu, gpu_memory=asked)
        assert len(run([job], gpus(1), [packed(9, 0, 8)]).starts) == starts


def test_no_more_jobs_than_the_site_allows() -> None:
    rules = Rules(packing=PackingRules(max_jobs=3))
    assert len(run([sharing(id, 1) for id in range(1, 9)], gpus(2), rules=rules).starts) == 6


def test_a_whole_device_is_never_shared() -> None:
    running = [whole(8, 0), packed(9, 1, 8)]
    decision = run([pending(1, 0), sharing(2, 1, requested_gpu=0)], gpus(2), running)
    assert not decision.starts


def test_a_retry_after_out_of_memory_gets_a_device_of_its_own() -> None:
    decision = run([sharing(1, 1, exclusive=True)], gpus(2), [packed(9, 0, 8)])
    assert [(s.device_uuid, s.gpu_memory_bytes) for s in decision.starts] == [("GPU-1", None)]


def test_ones_own_device_first_then_the_tightest() -> None:
    running = [packed(7, 0, 8, user="a"), packed(8, 1, 60, user="b"), packed(9, 2, 70, user="b")]
    assert started(run([sharing(1, 4, user="a")], gpus(4), running)) == [(1, "GPU-0")]
    assert started(run([sharing(1, 4, user="c")], gpus(4), running)) == [(1, "GPU-2")]
    assert started(run([sharing(1, 15, user="c")], gpus(4), running)) == [(1, "GPU-1")]
    assert started(run([sharing(1, 75, user="a")], gpus(4), running)) == [(1, "GPU-3")]


def test_memory_that_is_not_ours_counts() -> None:
    box = [node(gpu(0, memory_used_bytes=GIB // 2))]
    assert run([sharing(1, 79)], box).starts
    assert not run([sharing(1, 79.1)], box).starts


@pytest.mark.parametrize(("age", "fits"), [(59, False), (60, True)])
def test_until_a_job_has_settled_its_reservation_is_on_top_of_what_is_in_use(age: int, fits: bool) -> None:
    """30 GiB reserved, 20 of them in use: 50 are planned at first, 30 then."""
    running = [packed(9, 0, 30, measured_bytes=20 * GIB, started_at=later(-age))]
    box = [node(gpu(0, memory_used_bytes=20 * GIB))]
    decision = run([sharing(1, 40)], box, running)
    assert bool(decision.starts) is fits
    assert decision.next_change_at == (None if fits else later(1))


def test_use_beyond_the_reservation_counts() -> None:
    running = [packed(9, 0, 10, measured_bytes=30 * GIB)]
    box = [node(gpu(0, memory_used_bytes=30 * GIB))]
    assert run([sharing(1, 49)], box, running).starts
    assert not run([sharing(1, 50)], box, running).starts


def test_use_that_the_driver_does_not_attribute_is_taken_for_ours_once_settled() -> None:
    box = [node(gpu(0, memory_used_bytes=30 * GIB))]
    assert run([sharing(1, 49)], box, [packed(9, 0, 30)]).starts
    decision = run([sharing(1, 49)], box, [packed(9, 0, 30, started_at=later(-5))])
    assert not decision.starts and decision.next_change_at == later(55)


def test_nobody_joins_where_a_stranger_is_or_hides() -> None:
    stranger = Process(4711, "bob", GIB, "python")
    seen = [node(gpu(0, processes=(stranger,), memory_used_bytes=9 * GIB))]
    ours = [packed(9, 0, 8, measured_bytes=8 * GIB)]
    assert not run([sharing(1, 4)], seen, ours).starts
    assert run([sharing(1, 4)], seen, ours, rules=Rules(foreign=ForeignPolicy.IGNORE)).starts
    hidden = [node(gpu(0, memory_used_bytes=11 * GIB))]
    assert not run([sharing(1, 4)], hidden, ours).starts


def test_nobody_joins_on_a_drained_device() -> None:
    decision = run([sharing(1, 4)], gpus(1), [packed(9, 0, 8)], drained={"GPU-0": "noisy fan"})
    assert not decision.starts


def test_nobody_joins_on_a_device_that_is_lost() -> None:
    assert not run([sharing(1, 4)], [node(gpu(0, fault="it is lost"))], [packed(9, 0, 8)]).starts


def test_a_cpu_slot_is_not_shared() -> None:
    slots = [node(*(Device("n", DeviceKind.CPU, i, f"CPU-{i}", "x86") for i in range(2)))]
    decision = run([sharing(id, 1) for id in (1, 2, 3)], slots)
    assert [(s.device_uuid, s.gpu_memory_bytes) for s in decision.starts] == [
        ("CPU-0", None),
        ("CPU-1", None),
    ]


@pytest.mark.parametrize(
    ("measured", "estimate", "expected"),
    [({"lstm": 3 * GIB}, 8 * GIB, 3 * GIB), ({}, 8 * GIB, 8 * GIB), ({}, None, None)],
)
def test_auto_takes_what_was_measured_then_what_was_estimated_then_all(
    measured: dict[str, int], estimate: int | None, expected: int | None
) -> None:
    job = pending(1, 0, gpu_memory="auto", estimate_bytes=estimate, family="lstm", submitted_at=NOW)
    (start,) = run([job], gpus(1), measured=measured).starts
    assert start.gpu_memory_bytes == expected


def test_the_reason_says_how_much_is_left() -> None:
    decision = run([sharing(1, 20)], gpus(1), [packed(9, 0, 70)])
    assert decision.waits[1].reason is Reason.RESOURCES
    assert decision.waits[1].message == (
        "GPU 0 is used by job 9; it needs 20.0 GiB and at most 9.5 GiB are left to share"
    )


def test_the_reason_says_that_no_more_may_share() -> None:
    rules = Rules(packing=PackingRules(max_jobs=1))
    decision = run([sharing(1, 20)], gpus(1), [packed(9, 0, 8)], rules=rules)
    assert decision.waits[1].message == "GPU 0 is used by job 9; GPU 0 has as many jobs as may share it"


def test_a_device_that_is_too_small_says_so() -> None:
    decision = run([sharing(1, 60)], [node(gpu(0, memory_total_bytes=40 * GIB), gpu(1))], [whole(9, 1)])
    said = "GPU 1 is used by job 9; GPU 0 has 39.5 GiB to share, and the job asks for 60.0 GiB"
    assert decision.waits[1].message == said


def crowded(*used_gib: float, **values: Any) -> Snapshot:
    """Jobs 1, 2, … on one device, each with 20 GiB reserved and so much in use."""
    running = [
        packed(id, 0, 20, measured_bytes=int(gib * GIB), **values) for id, gib in enumerate(used_gib, 1)
    ]
    return Snapshot(NOW, (), [node(gpu(0, memory_used_bytes=int(sum(used_gib) * GIB)))], running)


def test_who_has_outgrown_the_reservation_most_must_leave() -> None:
    (victim,) = outgrown(crowded(19, 25, 36))
    assert (victim.job, victim.used_bytes, victim.reservation_bytes) == (3, 36 * GIB, 45 * GIB)


def test_who_uses_most_stays_where_that_is_what_was_reserved() -> None:
    running = [packed(1, 0, 50, measured_bytes=50 * GIB), packed(2, 0, 20, measured_bytes=31 * GIB)]
    (victim,) = outgrown(Snapshot(NOW, (), [node(gpu(0, memory_used_bytes=81 * GIB))], running))
    assert (victim.job, victim.used_bytes) == (2, 31 * GIB)


@pytest.mark.parametrize(("gib", "count"), [(79.5, 0), (79.6, 1)])
def test_as_long_as_all_have_room_nobody_must_leave(gib: float, count: int) -> None:
    """79.5 of 80 GiB are to be shared."""
    assert len(outgrown(crowded(19.5, gib - 20))) == count


def test_what_outgrew_a_device_gets_a_whole_one() -> None:
    (victim,) = outgrown(crowded(10, 70))
    assert (victim.job, victim.reservation_bytes) == (2, None)


@pytest.mark.parametrize(
    "snapshot",
    [crowded(36, 19), crowded(79.9), crowded(20, 20, 20), crowded(19, 25, 36, stopping=True)],
    ids=["room enough", "alone", "as reserved", "one is stopping"],
)
def test_nobody_is_stopped_without_need(snapshot: Snapshot) -> None:
    assert outgrown(snapshot) == []


def test_an_estimate_that_no_device_could_ever_share_is_said_with_what_to_do() -> None:
    job = pending(1, 0, gpu_memory="auto", estimate_bytes=90 * GIB, family="lstm", submitted_at=NOW)
    for running in ((), (whole(8, 0),)):
        said = run([job], gpus(2), running).waits[1].message
        assert "its gpu_memory is 90.0 GiB (auto: what earlier jobs like it used, else an estimate)" in said
        assert (
            "more than any device can share, which is at most 79.5 GiB; cancel it, and submit it with" in said
        )
    fits = pending(1, 0, gpu_memory="auto", estimate_bytes=60 * GIB, family="lstm", submitted_at=NOW)
    waits = run([fits], gpus(1), [whole(8, 0)]).waits[1]
    assert waits.message == "GPU 0 is used by job 8"
    cpu = Device("n", DeviceKind.CPU, 0, "CPU-n-0", "cpu")
    assert run([job], [node(gpu(0), cpu)]).starts[0].device_uuid == "CPU-n-0"
