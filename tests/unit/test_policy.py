"""The policy: examples of each rule, properties of all of them, and random histories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gpujobs.model import Device, DeviceKind, DeviceState, Node, NodeStatus, Process, Reason, utc_now
from gpujobs.policy import (
    IDLE_MEMORY_BYTES,
    Allocation,
    Decision,
    Snapshot,
    WaitingJob,
    decide,
    occupancies,
)

NOW = utc_now()
GIB = 1 << 30


def gpu(index: int, **values: object) -> Device:
    device = Device("n", DeviceKind.GPU, index, f"GPU-{index}", "fake", 80 * GIB, 0)
    return replace(device, **values)  # type: ignore[arg-type]


def node(*devices: Device, status: NodeStatus = NodeStatus.OK, message: str = "") -> Node:
    return Node("n", status, message, devices)


def run(
    waiting: Sequence[WaitingJob], nodes: Sequence[Node], allocations: Sequence[Allocation] = ()
) -> Decision:
    return decide(Snapshot(NOW, waiting, nodes, allocations))


def started(decision: Decision) -> list[tuple[int, str]]:
    return [(start.job, start.device_uuid) for start in decision.starts]


def test_priority_then_order_of_submission() -> None:
    jobs = [WaitingJob(1, 0), WaitingJob(2, 5), WaitingJob(3, 5)]
    assert started(run(jobs, [node(gpu(0), gpu(1))])) == [(2, "GPU-0"), (3, "GPU-1")]


def test_order_of_the_snapshot_does_not_matter() -> None:
    jobs = [WaitingJob(1, 0), WaitingJob(2, 5), WaitingJob(3, 5)]
    box = [node(gpu(0), gpu(1))]
    assert run(jobs, box) == run(jobs[::-1], box)


def test_a_foreign_process_keeps_us_off() -> None:
    stranger = Process(4711, "bob", 5 * GIB, "python train.py")
    decision = run([WaitingJob(1, 0)], [node(gpu(0, processes=(stranger,)))])
    assert not decision.starts
    assert decision.waits[1].reason is Reason.FOREIGN_PROCESS
    assert "GPU 0 is used by pid 4711 of bob" in decision.waits[1].message


def test_memory_in_use_without_a_visible_process_is_not_free() -> None:
    box = [node(gpu(0, memory_used_bytes=IDLE_MEMORY_BYTES + 1), gpu(1, memory_used_bytes=GIB // 2))]
    decision = run([WaitingJob(1, 0), WaitingJob(2, 0)], box)
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
    jobs = [WaitingJob(1, 9, requested_gpu=1), WaitingJob(2, 0)]
    decision = run(jobs, [node(gpu(0), gpu(1))], [Allocation(8, "n", "GPU-1")])
    assert started(decision) == [(2, "GPU-0")]
    assert decision.waits[1].message == "GPU 1 is used by job 8"


def test_a_lost_or_drained_device_starts_nothing() -> None:
    snapshot = Snapshot(
        NOW, [WaitingJob(1, 0)], [node(gpu(0, fault="is lost"), gpu(1))], (), {"GPU-1": "noisy fan"}
    )
    decision = decide(snapshot)
    assert not decision.starts
    assert decision.waits[1].reason is Reason.DEVICE_UNAVAILABLE
    assert "noisy fan" in decision.waits[1].message


def test_a_failing_driver_starts_nothing_and_says_so() -> None:
    broken = node(gpu(0), status=NodeStatus.DRIVER_ERROR, message="NVML: version mismatch")
    assert not run([WaitingJob(1, 0)], [broken]).starts
    decision = run(
        [WaitingJob(1, 0)], [node(status=NodeStatus.DRIVER_ERROR, message="NVML: version mismatch")]
    )
    assert decision.waits[1].reason is Reason.DRIVER_ERROR
    assert "version mismatch" in decision.waits[1].message


def test_held_and_dependent_jobs_stay() -> None:
    jobs = [WaitingJob(1, 9, held=True), WaitingJob(2, 9, waits_for=(1,)), WaitingJob(3, 0)]
    decision = run(jobs, [node(gpu(0))])
    assert started(decision) == [(3, "GPU-0")]
    assert decision.waits[1].reason is Reason.HELD
    assert decision.waits[2].reason is Reason.DEPENDENCY


def test_the_first_waits_for_resources_the_rest_for_their_turn() -> None:
    decision = run([WaitingJob(i, 0) for i in range(1, 5)], [node(gpu(0))])
    assert [decision.waits[i].reason for i in (2, 3, 4)] == [
        Reason.RESOURCES,
        Reason.PRIORITY,
        Reason.PRIORITY,
    ]
    assert decision.waits[4].message == "2 jobs are ahead"


processes = st.builds(Process, st.integers(1, 9), st.just("u"), st.integers(0, GIB), st.just("c"))
devices = st.lists(st.builds(
    lambda used, found, fault: gpu(0, memory_used_bytes=used, processes=tuple(found), fault=fault),
    st.integers(0, 2 * GIB),
    st.lists(processes, max_size=2),
    st.one_of(st.none(), st.just("lost")),
), max_size=6).map(lambda found: [replace(d, index=i, uuid=f"GPU-{i}") for i, d in enumerate(found)])  # fmt: skip
waiting_jobs = st.lists(
    st.builds(
        WaitingJob,
        st.integers(1, 1000),
        st.integers(-3, 3),
        st.one_of(st.none(), st.integers(0, 7)),
        st.booleans(),
        st.sampled_from([(), (1,)]),
    ),
    max_size=20,
    unique_by=lambda job: job.id,
)


@given(waiting_jobs, devices, st.sets(st.integers(0, 5)), st.sampled_from(sorted(NodeStatus)))
def test_properties(jobs: list[WaitingJob], found: list[Device], taken: set[int], status: NodeStatus) -> None:
    box = [node(*found, status=status)]
    allocations = [Allocation(5000 + i, "n", f"GPU-{i}") for i in taken if i < len(found)]
    decision = run(jobs, box, allocations)
    assert decision == run(jobs, box, allocations)
    by_id = {job.id: job for job in jobs}
    used = [start.device_uuid for start in decision.starts]
    assert len(set(used)) == len(used)
    assert not set(used) & {allocation.device_uuid for allocation in allocations}
    assert {start.job for start in decision.starts} | set(decision.waits) == set(by_id)
    assert not {start.job for start in decision.starts} & set(decision.waits)
    assert not decision.starts or status is NodeStatus.OK
    for start in decision.starts:
        device = found[int(start.device_uuid.removeprefix("GPU-"))]
        job = by_id[start.job]
        assert not device.processes and device.fault is None
        assert (device.memory_used_bytes or 0) <= IDLE_MEMORY_BYTES
        assert not job.held and not job.waits_for
        assert job.requested_gpu in (None, device.index)
    assert all(wait.reason and wait.message for wait in decision.waits.values())


class Histories(RuleBasedStateMachine):
    """Jobs come, run and end while strangers come and go: no device is ever given twice."""

    def __init__(self) -> None:
        super().__init__()
        self.next_id = 1
        self.waiting: dict[int, WaitingJob] = {}
        self.running: dict[int, str] = {}
        self.strangers: set[int] = set()

    @rule(priority=st.integers(-1, 1), wanted=st.one_of(st.none(), st.integers(0, 3)))
    def submit(self, priority: int, wanted: int | None) -> None:
        self.waiting[self.next_id] = WaitingJob(self.next_id, priority, wanted)
        self.next_id += 1

    @rule(index=st.integers(0, 3))
    def stranger(self, index: int) -> None:
        self.strangers ^= {index}

    @rule(which=st.integers(0, 3))
    def end(self, which: int) -> None:
        for job in sorted(self.running)[which : which + 1]:
            del self.running[job]

    @rule()
    def dispatch(self) -> None:
        stranger = (Process(1, "u", GIB, "c"),)
        box = node(*(gpu(i, processes=stranger if i in self.strangers else ()) for i in range(4)))
        allocations = [Allocation(job, "n", uuid) for job, uuid in self.running.items()]
        for start in run(list(self.waiting.values()), [box], allocations).starts:
            del self.waiting[start.job]
            assert int(start.device_uuid.removeprefix("GPU-")) not in self.strangers
            self.running[start.job] = start.device_uuid

    @invariant()
    def one_job_for_each_device(self) -> None:
        assert len(set(self.running.values())) == len(self.running)


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
