"""Decisions about devices held whole: examples of each rule."""

from __future__ import annotations

from dataclasses import replace

from gpujobs.model import DeviceState, Node, NodeStatus, Process, Reason
from gpujobs.policy import (
    IDLE_MEMORY_BYTES,
    Allocation,
    Queue,
    Rules,
    Snapshot,
    decide,
    occupancies,
)
from gpujobs.policy.inputs.rules import ForeignPolicy

from .box import GIB, NOW, gpu, gpus, later, node, pending, run, started, whole


def test_priority_then_order_of_submission() -> None:
    jobs = [pending(1, 0), pending(2, 5), pending(3, 5)]
    assert started(run(jobs, [node(gpu(0), gpu(1))])) == [(2, "GPU-0"), (3, "GPU-1")]


def test_order_of_the_snapshot_does_not_matter() -> None:
    jobs = [pending(1, 0), pending(2, 5), pending(3, 5)]
    box = [node(gpu(0), gpu(1))]
    assert run(jobs, box) == run(jobs[::-1], box)


def test_a_foreign_process_keeps_us_off() -> None:
    stranger = Process(4711, "bob", 5 * GIB, "python train.py")
    decision = run([pending(1, 0)], [node(gpu(0, processes=(stranger,)))])
    assert not decision.starts
    assert decision.waits[1].reason is Reason.FOREIGN_PROCESS
    assert "GPU 0 is used by pid 4711 of bob" in decision.waits[1].message


def test_memory_in_use_without_a_visible_process_is_not_free() -> None:
    box = [node(gpu(0, memory_used_bytes=IDLE_MEMORY_BYTES + 1), gpu(1, memory_used_bytes=GIB // 2))]
    decision = run([pending(1, 0), pending(2, 0)], box)
    assert started(decision) == [(1, "GPU-1")]
    assert "does not show" in decision.waits[2].message


def test_our_own_trainer_is_not_foreign() -> None:
    ours = Process(100, "a", GIB, "trainer")
    (view,) = occupancies(
        Snapshot(NOW, (), [node(gpu(0, processes=(ours,)))], [Allocation(9, "n", "GPU-0", 100)])
    )
    assert (view.state, view.jobs, view.foreign) == (DeviceState.BUSY, (9,), ())


def test_a_stranger_beside_our_job_is_shown() -> None:
    both = (Process(100, "a", GIB, "trainer"), Process(5, "bob", GIB, "x"))
    (view,) = occupancies(
        Snapshot(NOW, (), [node(gpu(0, processes=both))], [Allocation(9, "n", "GPU-0", 100)])
    )
    assert view.state is DeviceState.BUSY
    assert [process.pid for process in view.foreign] == [5]


def test_a_requested_gpu_is_waited_for_and_passed_by_others() -> None:
    jobs = [pending(1, 9, requested_gpu=1), pending(2, 0)]
    decision = run(jobs, [node(gpu(0), gpu(1))], [Allocation(8, "n", "GPU-1")])
    assert started(decision) == [(2, "GPU-0")]
    assert decision.waits[1].message == "GPU 1 is used by job 8"


def test_a_lost_or_drained_device_starts_nothing() -> None:
    snapshot = Snapshot(
        NOW, [pending(1, 0)], [node(gpu(0, fault="is lost"), gpu(1))], (), {"GPU-1": "noisy fan"}
    )
    decision = decide(snapshot)
    assert not decision.starts
    assert decision.waits[1].reason is Reason.DEVICE_UNAVAILABLE
    assert "noisy fan" in decision.waits[1].message


def test_a_failing_driver_starts_nothing_and_says_so() -> None:
    broken = node(gpu(0), status=NodeStatus.DRIVER_ERROR, message="NVML: version mismatch")
    assert not run([pending(1, 0)], [broken]).starts
    decision = run([pending(1, 0)], [node(status=NodeStatus.DRIVER_ERROR, message="NVML: version mismatch")])
    assert decision.waits[1].reason is Reason.DRIVER_ERROR
    assert "version mismatch" in decision.waits[1].message


def test_an_excluded_device_starts_nothing() -> None:
    rules = Rules(excluded=frozenset({"GPU-0"}))
    decision = run([pending(1, 0), pending(2, 0)], gpus(2), rules=rules)
    assert started(decision) == [(1, "GPU-1")]
    assert "GPU 0 is drained: excluded by the site's configuration" in decision.waits[2].message


def test_foreign_processes_are_ignored_where_the_site_says_so() -> None:
    stranger = Process(4711, "bob", GIB, "python train.py")
    box = [node(gpu(0, processes=(stranger,)))]
    decision = run([pending(1, 0)], box, rules=Rules(foreign=ForeignPolicy.IGNORE))
    assert started(decision) == [(1, "GPU-0")]


def test_held_and_dependent_jobs_stay() -> None:
    jobs = [pending(1, 9, held=True), pending(2, 9, waits_for=(1,)), pending(3, 0)]
    decision = run(jobs, [node(gpu(0))])
    assert started(decision) == [(3, "GPU-0")]
    assert decision.waits[1].reason is Reason.HELD
    assert decision.waits[2].reason is Reason.DEPENDENCY


def test_the_first_waits_for_resources_the_rest_for_their_turn() -> None:
    decision = run([pending(i, 0) for i in range(1, 5)], [node(gpu(0))])
    assert [decision.waits[i].reason for i in (2, 3, 4)] == [
        Reason.RESOURCES,
        Reason.PRIORITY,
        Reason.PRIORITY,
    ]
    assert decision.waits[4].message == "2 jobs are ahead"


def test_a_job_begins_when_its_time_has_come() -> None:
    job = pending(1, 0, begin_at=later(60))
    before = run([job], gpus(1))
    assert not before.starts and before.next_change_at == later(60)
    assert before.waits[1].reason is Reason.BEGIN_TIME
    assert before.waits[1].message == "begins at 2026-01-05 12:01 UTC"
    after = decide(Snapshot(later(60), [job], gpus(1)))
    assert started(after) == [(1, "GPU-0")] and after.next_change_at is None


def test_a_node_without_its_user_is_passed_over_and_named() -> None:
    """Whoever else waits may have its devices."""
    box = [node(gpu(0)), Node("m", NodeStatus.OK, "", (replace(gpu(0), node="m", uuid="GPU-m"),))]
    why = (("m", "m has no user alice; expected one with uid 1000"),)
    jobs = [pending(1, without=why), pending(2, without=why), pending(3)]
    decision = run(jobs, box)
    assert started(decision) == [(1, "GPU-0"), (3, "GPU-m")]
    assert "m has no user alice; expected one with uid 1000" in decision.waits[2].message
    alone = run([pending(1, node="m", without=why)], box)
    assert alone.waits[1].message == "m has no user alice; expected one with uid 1000"
    assert alone.waits[1].reason is Reason.DEVICE_UNAVAILABLE


def test_a_requested_node_is_taken_and_waited_for() -> None:
    box = [node(gpu(0)), Node("m", NodeStatus.OK, "", (replace(gpu(0), node="m", uuid="GPU-m"),))]
    decision = run([pending(1, 0, node="m"), pending(2, 0, node="m", requested_gpu=0)], box)
    assert started(decision) == [(1, "GPU-m")]
    assert (decision.waits[2].reason, decision.waits[2].message) == (
        Reason.RESOURCES,
        "GPU 0 of m is used by job 1",
    )
    elsewhere = run([pending(1, 0, node="x"), pending(2, 0, node="x", requested_gpu=3)], box)
    assert not elsewhere.starts
    assert elsewhere.waits[1].message == "there is no device of x at present; there are the nodes n and m"
    assert elsewhere.waits[2].message == "there is no GPU 3 of x at present; there are the nodes n and m"


def test_a_requested_gpu_that_does_not_exist() -> None:
    decision = run([pending(1, 0, requested_gpu=9)], gpus(2))
    assert decision.waits[1].reason is Reason.DEVICE_UNAVAILABLE
    assert decision.waits[1].message == "there is no GPU 9 at present"


def test_the_first_is_told_what_is_on_every_device() -> None:
    stranger = Process(4711, "bob", 5 * GIB, "python train.py")
    box = [node(gpu(0), gpu(1), gpu(2, processes=(stranger,)))]
    decision = run([pending(1, 0)], box, [whole(17, 0), whole(18, 1)])
    assert decision.waits[1].message == (
        "GPUs 0 and 1 are used by jobs 17 and 18; GPU 2 is used by pid 4711 of bob"
    )


def test_what_this_decision_gives_away_is_said_too() -> None:
    decision = run([pending(1, 0), pending(2, 0)], gpus(1))
    assert decision.waits[2].message == "GPU 0 is used by job 1"


def test_a_thousand_devices_make_a_short_message() -> None:
    allocations = [whole(1000 + index, index) for index in range(1000)]
    message = run([pending(1, 0)], gpus(1000), allocations).waits[1].message
    assert message.startswith("GPUs 0, 1, 2, 3, 4, 5, 6 and 993 more are used by jobs 1000, 1001,")
    assert len(message) < 200


def test_a_job_of_the_queue_that_left_has_no_reason() -> None:
    decision = run([pending(1, 0)], gpus(1))
    assert decision.waits.get(1) is None and decision.waits.get(2) is None and len(decision.waits) == 0


def test_a_job_that_comes_after_the_decision_is_looked_at_by_the_next() -> None:
    queue = Queue([pending(1, 0, user="a")])
    decision = decide(Snapshot(NOW, queue, gpus(1), [whole(9, 0)]))
    assert decision.waits[1].message == "GPU 0 is used by job 9"
    queue.add(pending(2, 0, user="b"))
    assert decision.waits[2].reason is Reason.PRIORITY
    assert set(dict(decision.waits)) == {1, 2}


def test_only_those_are_ahead_that_wait_for_the_same_devices() -> None:
    held = [Allocation(90 + i, "n", f"GPU-{i}", None, user=f"u{i}") for i in range(2)]
    jobs = [pending(i, 5, requested_gpu=1) for i in (1, 2, 3)]
    jobs += [pending(4, 0, user="a"), pending(5, 0, user="b")]
    decision = run(jobs, [node(gpu(0), gpu(1))], allocations=held)
    assert decision.waits[4].reason is Reason.RESOURCES
    assert decision.waits[5].message == "1 job is ahead"


def test_on_a_box_with_one_gpu_who_asks_for_it_by_number_is_ahead_too() -> None:
    held = [Allocation(90, "n", "GPU-0", None, user="u")]
    jobs = [pending(1, 5, requested_gpu=0), pending(2, 0)]
    decision = run(jobs, [node(gpu(0))], allocations=held)
    assert decision.waits[2].message == "1 job is ahead"
