"""A box that is away: what runs there is not taken for lost before its lease ends; it is not struck out too soon."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gpujobs.cluster import roster
from gpujobs.daemon.build import Parts
from gpujobs.daemon.devices import nodes
from gpujobs.daemon.main import prepare_state
from gpujobs.daemon.modes import Mode
from gpujobs.errors import MachineError, NotFoundError, UsageError
from gpujobs.lifecycle import Finish
from gpujobs.model import Device, DeviceKind, Job, Node, NodeStatus, Reason, State, utc_now
from gpujobs.paths import StatePaths
from gpujobs.protocol import codec
from gpujobs.protocol.boxes import Alive, Renew
from gpujobs.protocol.codec import Message
from gpujobs.protocol.events import NodeReported
from gpujobs.protocol.instructions import FindStrays, Orphans, Probe, Probed
from gpujobs.protocol.telling import Instruction
from tests.integration.events import run
from tests.integration.node import new_daemon, settled
from tests.specs import exit_record
from tests.unit.store.jobs import A, new_job


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Parts]:
    """Box 2 has joined before this daemon was started."""
    paths = StatePaths(tmp_path / "s")
    prepare_state(paths, Mode.PERSONAL)
    roster.add(paths.nodes, "box2", "77")
    made = new_daemon(paths.root)
    yield made
    made.store.close()


def begun_there(daemon: Parts) -> Job:
    (job,) = daemon.store.submit(
        A, f"key-{time.monotonic_ns()}", [replace(new_job(), resolved={"model": {}, "training": {}})]
    )
    daemon.store.start_attempt(job.id, Device("box2", DeviceKind.CPU, 0, "CPU-box2-0", "cpu"))
    job = daemon.store.mark_running(job.id, 1, 99, utc_now())
    daemon.cache.put(job)
    return job


def test_a_box_that_joined_before_is_waited_for(daemon: Parts) -> None:
    """Its attempts are not asked of the daemon's own box, which would find nothing, and start them again."""
    job = begun_there(daemon)
    assert [(node.name, node.status) for node in daemon.nodes.known][1:] == [("box2", NodeStatus.DOWN)]
    assert daemon.nodes.of(job) == "box2"

    async def work() -> None:
        await daemon.attempts.recover(daemon.node_name)
        assert daemon.store.job(job.id).state is State.RUNNING

    run(daemon, work)


def test_since_when_it_is_away_is_said_once_and_what_runs_there_goes_on(daemon: Parts) -> None:
    job = begun_there(daemon)

    async def work() -> None:
        daemon.admission.expect(["box2"])
        daemon.admission.on_node(NodeReported("box2", NodeStatus.DOWN, "no answer"))
        said = daemon.nodes.known[1].message
        daemon.admission.on_node(NodeReported("box2", NodeStatus.DOWN, "Ray has lost it"))
        again = daemon.nodes.known[1].message
        assert said.split(":")[0] == again.split(":")[0] and said.startswith("away since 20")
        assert "Ray has lost it; what runs there goes on" in again
        assert daemon.store.job(job.id).state is State.RUNNING
        daemon.admission.close()

    run(daemon, work)


def test_when_its_lease_has_ended_its_jobs_go_back_and_lose_no_retry(daemon: Parts) -> None:
    job = begun_there(daemon)

    async def work() -> None:
        daemon.attempts.lost_with("box2")
        await settled(daemon, job.id, State.PENDING)

    run(daemon, work)
    assert daemon.store.job(job.id).retries_used == 0
    (attempt,) = daemon.store.attempts(job.id)
    assert attempt.reason is Reason.NODE_LOST


def test_a_box_whose_devices_cannot_be_read_at_first_is_tried_again_and_not_taken_in_without_any(
    daemon: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its link is cut again between its lease and the reading: nothing else would ever wake whoever waits for it."""
    devices = (Device("box2", DeviceKind.CPU, 0, "CPU-box2-0", "cpu"),)
    answers: list[Probed | MachineError] = [
        MachineError("no answer"),
        Probed(Node("box2", NodeStatus.OK, "", devices)),
    ]

    async def call(node: str, instruction: Instruction[Any]) -> Message:
        if isinstance(instruction, Renew):
            return Alive("boot", 1.0)
        if isinstance(instruction, FindStrays):
            return Orphans(())
        assert isinstance(instruction, Probe)
        if isinstance(answer := answers.pop(0), MachineError):
            raise answer
        return answer

    monkeypatch.setattr(daemon.link, "call", call)

    async def work() -> None:
        daemon.admission.on_node(NodeReported("box2", NodeStatus.OK, ""))
        seen = []
        while daemon.nodes.known[1].status is not NodeStatus.OK or not daemon.nodes.known[1].devices:
            seen.append((daemon.nodes.known[1].status, daemon.nodes.known[1].message))
            await asyncio.sleep(0.01)
        assert (NodeStatus.DOWN, "it cannot be used yet: no answer; another try in 1 s") in seen
        daemon.admission.close()

    run(daemon, work)
    assert daemon.nodes.known[1].devices == devices and not answers


def test_a_box_may_take_longer_for_its_first_answer_than_a_decision_waits(
    daemon: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that asks its driver is only starting; it would be given up, and started anew, for ever."""
    monkeypatch.setattr(nodes, "REMOTE_SECONDS", 0.01)
    devices = (Device("box2", DeviceKind.GPU, 0, "GPU-2", "gpu"),)
    asked: list[Instruction[Any]] = []

    async def call(node: str, instruction: Instruction[Any]) -> Message:
        if not isinstance(instruction, Probe):
            return Alive("boot", 1.0) if isinstance(instruction, Renew) else Orphans(())
        asked.append(instruction)
        await asyncio.sleep(0.1)
        return Probed(Node("box2", NodeStatus.OK, "", devices))

    monkeypatch.setattr(daemon.link, "call", call)

    async def work() -> None:
        admitted = asyncio.Event()
        daemon.admission.admitted.add(lambda _: admitted.set())
        daemon.admission.on_node(NodeReported("box2", NodeStatus.OK, ""))
        await asyncio.wait_for(admitted.wait(), 5)
        daemon.admission.close()

    run(daemon, work)
    assert daemon.nodes.known[1].devices == devices and len(asked) == 1


def test_a_box_is_not_struck_out_while_something_of_it_is_wanted(daemon: Parts) -> None:
    job = begun_there(daemon)
    with pytest.raises(UsageError, match=f"job {job.id} may still run on box2"):
        daemon.devices.remove_node("box2")
    record = exit_record({"state": "COMPLETED", "exit": {"code": 0, "signal": None}})
    daemon.cache.put(daemon.store.mark_completing(job.id, 1, codec.write(record)))
    with pytest.raises(UsageError, match=f"the results of job {job.id} are on box2 still"):
        daemon.devices.remove_node("box2")
    daemon.cache.put(daemon.store.finish(job.id, Finish(State.FAILED, Reason.RESULTS_FAILED, ""), None))
    daemon.devices.remove_node("box2")
    assert [node.name for node in daemon.nodes.known] == [daemon.node_name]
    assert roster.known(daemon.paths.nodes) == {}


@pytest.mark.parametrize("status", [NodeStatus.OK, NodeStatus.DRIVER_ERROR])
def test_a_member_is_not_struck_out_whatever_its_driver_does(daemon: Parts, status: NodeStatus) -> None:
    daemon.nodes.report("box2", status, "")
    with pytest.raises(UsageError, match="box2 is a member now; end `gpujobs node join` there first"):
        daemon.devices.remove_node("box2")
    assert "box2" in roster.known(daemon.paths.nodes)


@pytest.mark.parametrize("name", ["box3", ""])
def test_what_is_no_other_box_cannot_be_struck_out(daemon: Parts, name: str) -> None:
    for one in (name, daemon.node_name):
        with pytest.raises(NotFoundError, match="is no other box of this queue; expected one of box2"):
            daemon.devices.remove_node(one)
