"""A trainer that has completed a job and takes another over: the real supervisor, and the agent's own requests."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gpujobs.errors import LauncherError
from gpujobs.linux import durable, lease, sockets
from gpujobs.node import attempts, residents
from gpujobs.node.agent import NodeAgent
from gpujobs.paths import AttemptPaths, StatePaths
from gpujobs.protocol import codec
from gpujobs.protocol.instructions import AttemptStatus, Start
from gpujobs.protocol.records import AttemptKey, ResidentNote
from gpujobs.protocol.residents import fits
from tests.forked import Started
from tests.specs import attempt_spec, node_settings

from .supervising import program, start

TRAINING: dict[str, Any] = {
    "model": {"layers": []},
    "data": {},
    "training": {"optimizer": "adam", "loss": "mse", "epochs": 1},
}

PROGRAM = """
import os, signal, sys, time
from gpujobs.protocol.training import Began, Failed, line_of
from gpujobs.linux import process
from gpujobs.supervise import supervisor
from gpujobs.supervise.members import next_spec

def run_trainer(spec, output, messages):
    process.prctl(process.PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {{signal.SIGTERM}})
    os.dup2(output, 1)
    os.dup2(messages, 3)
    while True:
        os.write(3, line_of(Began()))
        os.write(1, f"job {{spec.job}} in {{os.getpid()}}\\n".encode())
        {body}
        spec.paths.results.mkdir(parents=True)
        (spec.paths.results / "metrics.json").write_text("{{}}")
        spec = next_spec(3)

supervisor.supervise(sys.argv[1], sys.argv[2], run_trainer)
"""


class Box:
    """A state directory, its attempts and their supervisors."""

    def __init__(self, root: Path) -> None:
        self.paths = StatePaths(root)
        self.paths.run.mkdir(parents=True)
        self.supervisors: list[Started] = []

    def make(self, job: int, **more: Any) -> AttemptPaths:
        spec = attempt_spec(
            job=job, nonce=f"{job:032x}", may_stay=True, jobfile=TRAINING, job_dir=self.paths.job(job).root
        )
        return attempts.make(self.paths.job(job), replace(spec, **more))

    def supervise(
        self, paths: AttemptPaths, body: str = "pass", before: str = "", **environment: str
    ) -> AttemptPaths:
        """`before`: what its supervisor runs first."""
        code = before + program(body, PROGRAM, indent=8)
        self.supervisors.append(start(code, paths.root, self.paths.agent_socket, **environment))
        return paths

    def resident(self, job: int) -> ResidentNote:
        """The one that has trained this job, once it waits."""
        key = AttemptKey(job, 1, f"{job:032x}")
        until(lambda: self.paths.job(job).attempt(1).exit.exists())
        note = residents.of(self.paths, key)
        assert note is not None
        return note

    def hand_over(self, after: int, paths: AttemptPaths) -> Any:
        return asyncio.run(residents.hand_over(self.paths, self.resident(after), paths))


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path / "s")
    yield made
    for one in made.supervisors:
        one.kill()
        one.wait()


def until(what: Callable[[], Any], seconds: float = 20.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


def ended(paths: AttemptPaths) -> dict[str, Any]:
    until(paths.exit.exists)
    record: dict[str, Any] = json.loads(paths.exit.read_text())
    return record


def record(paths: AttemptPaths) -> dict[str, Any]:
    until(paths.record.exists)
    found: dict[str, Any] = json.loads(paths.record.read_text())
    return found


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


USES = """
until = time.process_time() + (0.6 if spec.job == 1 else 0.1)
held = b"x" * ((300 << 20) if spec.job == 1 else 1)
while time.process_time() < until:
    pass
del held
"""


def test_a_second_job_is_trained_by_the_same_process_and_each_has_its_own_files(box: Box) -> None:
    first, second = box.supervise(box.make(1), USES), box.make(2)
    forked = box.hand_over(1, second)
    assert (forked.pid, forked.is_resident) == (box.supervisors[0].pid, True)
    ends = [ended(first), ended(second)]
    assert [one["state"] for one in ends] == ["COMPLETED", "COMPLETED"]
    assert [one["exit"] for one in ends] == [{"code": 0, "signal": None}] * 2
    assert [one["trainer_of"] for one in ends] == [None, 1]
    pid = record(first)["trainer"]["pid"]
    assert record(second)["trainer"] == record(first)["trainer"]
    assert [paths.log.read_text() for paths in (first, second)] == [f"job {n} in {pid}\n" for n in (1, 2)]
    hosts = [one["host"] for one in ends]
    assert hosts[0]["cpu_seconds"] >= 0.5 and 0.05 <= hosts[1]["cpu_seconds"] < 0.5
    assert hosts[0]["peak_memory_bytes"] > 300 << 20 > hosts[1]["peak_memory_bytes"] > 0


def test_whoever_waits_in_vain_ends_by_itself(box: Box) -> None:
    first = box.supervise(box.make(1))
    pid = box.resident(1).trainer.pid
    assert box.supervisors[0].wait(10) == 0
    assert not lives(pid) and ended(first)["state"] == "COMPLETED"
    assert list(box.paths.residents.iterdir()) == []


def test_who_waits_for_another_is_dead_before_the_launcher_is_asked(box: Box) -> None:
    """A job that does not fit: the agent names nobody. What listens here in the launcher's place looks, and refuses."""
    box.supervise(box.make(1))
    pid = box.resident(1).trainer.pid
    seen: list[bool] = []

    def look() -> None:
        with listener.accept()[0] as connection:
            connection.recv(65536)
            seen.append(lives(pid))
            connection.sendall(b'{"error": {"code": "launch", "message": "it has looked"}}\n')

    listener = sockets.listen(box.paths.launcher_socket("tensorflow"))
    looking = threading.Thread(target=look)
    looking.start()
    agent = NodeAgent(node_settings(box.paths.root))
    spec = attempt_spec(job=2, nonce="2", jobfile={"model": {}}, job_dir=box.paths.job(2).root)
    with pytest.raises(LauncherError, match="it has looked"):
        asyncio.run(agent.start(Start(spec, 5.0, None, None, (), None)))
    looking.join()
    listener.close()
    assert seen == [False]


def test_what_a_killed_one_has_left_is_cleared(box: Box) -> None:
    box.supervise(box.make(1))
    note = box.resident(1)
    residents.clear(box.paths)
    assert residents.of(box.paths, note.last) == note
    os.kill(note.supervisor.pid, signal.SIGKILL)
    box.supervisors[0].wait(10)
    assert residents.waiting(box.paths, "CPU-0") == []
    for path in box.paths.residents.iterdir():
        os.utime(path, (0, 0))
    residents.clear(box.paths)
    assert not list(box.paths.residents.iterdir())


def test_whoever_is_not_needed_has_ended_when_that_is_answered(box: Box) -> None:
    box.supervise(box.make(1))
    note = box.resident(1)
    began = time.monotonic()
    asyncio.run(residents.end_all(box.paths, "CPU-0"))
    assert not lives(note.trainer.pid) and time.monotonic() - began < 1.0
    assert residents.waiting(box.paths, "CPU-0") == []


OTHERS: dict[str, dict[str, Any]] = {
    "another user": {"user": "another"},
    "another uid": {"identity": replace(attempt_spec().identity, uid=12345)},
    "another group": {"identity": replace(attempt_spec().identity, groups=(12345,))},
    "another device": {"device": replace(attempt_spec().device, uuid="CPU-1")},
    "other threads": {"cpu_threads": 2},
    "another backend": {"backend": "jax"},
    "another state directory": {"state_id": "another"},
    "another model": {"jobfile": {**TRAINING, "model": {"layers": [{"LSTM": {"units": 3}}]}}},
    "no training": {"jobfile": {"model": {"job": 1}, "data": {}}},
}


@pytest.mark.parametrize("what", OTHERS)
def test_what_does_not_fit(what: str) -> None:
    earlier = attempt_spec(may_stay=True, jobfile=TRAINING)
    later = replace(earlier, job=2, name="another", time_limit_seconds=7.0, all_devices=(earlier.device,))
    assert fits(earlier, later)
    assert not fits(earlier, replace(later, **OTHERS[what]))
    assert not fits(replace(earlier, may_stay=False), later)


def test_a_supervisor_takes_nothing_that_does_not_fit_whatever_it_is_asked(box: Box) -> None:
    box.supervise(box.make(1))
    second = box.make(2)
    spec = {**json.loads(second.spec.read_text()), "identity": codec.write(OTHERS["another uid"]["identity"])}
    second.spec.write_text(json.dumps(spec))
    pid = box.resident(1).trainer.pid
    assert box.hand_over(1, second) is None
    assert not lives(pid) and not second.claim.exists()


def test_who_says_nothing_that_is_known_takes_no_turn_of_anybody(box: Box) -> None:
    box.supervise(box.make(1))
    box.resident(1)
    for said in (b"", b"{", b'{"kind": "take_over"}', b"\xff" * 100):
        with sockets.connect(box.paths.residents / f"{1:032x}.sock") as stranger:
            stranger.sendall(said)
    second = box.make(2)
    assert box.hand_over(1, second).pid == box.supervisors[0].pid
    assert ended(second)["state"] == "COMPLETED"


def test_what_was_revoked_is_not_taken(box: Box) -> None:
    box.supervise(box.make(1))
    second = box.make(2)
    durable.create(second.claim, b"revoked")
    pid = box.resident(1).trainer.pid
    with pytest.raises(LauncherError, match="has claimed it"):
        box.hand_over(1, second)
    assert not lives(pid) and not second.log.exists()


@pytest.mark.parametrize(
    "body", ["if spec.job == 2:\n    time.sleep(60)", "pass"], ids=["trains", "has trained"]
)
def test_whoever_claims_only_while_it_is_being_ended_has_taken_it(
    box: Box, body: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It has not answered in time, does not hold the lock yet, and claims before it would be killed."""
    box.supervise(box.make(1), body, GPUJOBS_FAILPOINTS="resident.claim=pause:0.8")
    second, pid = box.make(2), box.resident(1).trainer.pid
    forked = box.hand_over(1, second)
    assert (forked.pid, forked.is_resident) == (box.supervisors[0].pid, True)
    assert second.claim.exists() and record(second)["trainer"]["pid"] == pid
    if body == "pass":
        assert ended(second)["state"] == "COMPLETED"
    else:
        assert lives(pid) and not second.exit.exists()
    assert not caplog.records


def test_a_trainer_that_was_killed_while_it_waited_takes_nothing(box: Box) -> None:
    box.supervise(box.make(1))
    note, second = box.resident(1), box.make(2)
    os.kill(note.trainer.pid, signal.SIGKILL)
    box.supervisors[0].wait(10)
    assert asyncio.run(residents.hand_over(box.paths, note, second)) is None
    assert not second.claim.exists()


def test_a_signal_that_comes_between_two_jobs_is_not_kept_for_the_flag_of_the_one_that_has_ended(
    box: Box,
) -> None:
    """The supervisor is stopped meanwhile, so that it is the signal that ends the trainer."""
    box.supervise(box.make(1), "signal.signal(signal.SIGTERM, lambda *_: None)")
    note, second = box.resident(1), box.make(2)
    os.kill(note.supervisor.pid, signal.SIGSTOP)
    os.kill(note.trainer.pid, signal.SIGTERM)
    until(lambda: not lives(note.trainer.pid), 5)
    os.kill(note.supervisor.pid, signal.SIGCONT)
    box.supervisors[0].wait(10)
    assert asyncio.run(residents.hand_over(box.paths, note, second)) is None
    assert not second.claim.exists()


LEAVES = {
    "a process": "if os.fork() == 0:\n    time.sleep(60)",
    "output": "if os.fork() == 0:\n    os.setsid()\n    while True: os.write(1, b'x' * 4096)",
}


@pytest.mark.parametrize("what", LEAVES)
def test_a_trainer_that_leaves_something_running_is_not_kept(box: Box, what: str) -> None:
    first = box.supervise(box.make(1), LEAVES[what])
    assert (ended(first)["state"], ended(first)["exit"]["code"]) == ("COMPLETED", 0)
    is_not_kept(box, first)


def is_not_kept(box: Box, first: AttemptPaths) -> None:
    """Not even for the moment in which it would wait in vain."""
    assert first.exit.exists() and not list(box.paths.residents.glob("*"))
    assert box.supervisors[0].wait(10) == 0
    assert not lives(record(first)["trainer"]["pid"])


def test_a_trainer_that_has_ended_without_results_has_failed_and_is_not_kept(box: Box) -> None:
    first = box.supervise(box.make(1), "spec = next_spec(3)")
    assert (ended(first)["state"], ended(first)["reason"]) == ("FAILED", "TrainingError")
    is_not_kept(box, first)


def test_a_trainer_that_has_completed_though_it_was_to_end_is_not_kept(box: Box) -> None:
    """Its device is somebody else's next."""
    waits = "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})\nsignal.sigwait({signal.SIGTERM})"
    first = box.supervise(box.make(1), waits)
    until(lambda: first.log.exists() and first.log.read_text())
    first.stop.write_text(json.dumps({"reason": "preempt", "message": ""}))
    box.supervisors[0].send_signal(signal.SIGTERM)
    assert (ended(first)["state"], ended(first)["stopped_for"]) == ("COMPLETED", None)
    is_not_kept(box, first)


def test_whoever_cannot_write_down_an_end_keeps_no_trainer_for_it(box: Box) -> None:
    """The agent finds those who wait by the ends that it hears of."""
    soon = "from gpujobs.supervise import supervision\nsupervision.EXIT_RETRY_SECONDS = 0.02\n"
    first = box.supervise(box.make(1), before=soon, GPUJOBS_FAILPOINTS="supervisor.exit=error:ENOSPC*1")
    assert ended(first)["state"] == "COMPLETED"
    is_not_kept(box, first)


def test_whoever_may_not_stay_does_not(box: Box) -> None:
    first = box.supervise(box.make(1, may_stay=False))
    assert ended(first)["state"] == "COMPLETED"
    is_not_kept(box, first)


def test_whoever_waits_on_a_lease_does_not_wait_beyond_it(box: Box, tmp_path: Path) -> None:
    path = tmp_path / "lease.json"
    lease.grant(path, lease.now() + lease.MARGIN_SECONDS + 1.0)
    box.supervise(box.make(1, lease=str(path), grace_seconds=0.0))
    box.resident(1)
    assert box.supervisors[0].wait(10) == 0
    assert lease.left(path) > lease.MARGIN_SECONDS - 0.5


def test_nothing_is_held_on_to_of_an_attempt_that_has_ended(box: Box) -> None:
    """Its lock above all, by which others see who still lives."""
    first = box.supervise(box.make(1), "if spec.job == 2:\n    time.sleep(60)")
    second = box.make(2)
    supervisor = box.hand_over(1, second).pid
    until(second.record.exists)
    held = [one.readlink() for one in Path(f"/proc/{supervisor}/fd").glob("*") if os.path.lexists(one)]
    assert not [one for one in held if one.is_relative_to(first.root)]
    assert {second.lock, second.log} <= set(held)


@pytest.mark.parametrize("may_stay", [True, False])
def test_who_hears_of_an_end_hears_whether_its_trainer_stays(box: Box, may_stay: bool) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as agent:
        with sockets.short_path(box.paths.agent_socket) as name:
            agent.bind(name)
        agent.settimeout(20)
        box.supervise(box.make(1, may_stay=may_stay))
        while (said := json.loads(agent.recv(1 << 16)))["what"] != "exited":
            pass
    assert said["stays"] is may_stay


def failed(reason: str) -> str:
    return f"os.write(3, line_of(Failed({reason!r}, 'so it is')))\n    os._exit(1)"


ENDS: dict[str, tuple[str, tuple[str, str, int | None]]] = {
    "killed": ("os.kill(os.getpid(), 9)", ("FAILED", "Signal", None)),
    "NaN": (failed("NaNLoss"), ("FAILED", "NaNLoss", 1)),
    "data of another shape": (failed("DataError"), ("FAILED", "DataError", 1)),
    "out of memory": (failed("HostOutOfMemory"), ("OUT_OF_MEMORY", "HostOutOfMemory", 1)),
    "time limit": ("time.sleep(60)", ("TIMEOUT", "TimeLimit", None)),
    "cancelled": ("time.sleep(60)", ("CANCELLED", "CancelledByUser", None)),
}


@pytest.mark.parametrize("how", ENDS)
def test_a_later_job_ends_for_itself_and_its_trainer_with_it(box: Box, how: str) -> None:
    body, expected = ENDS[how]
    first = box.supervise(box.make(1), f"if spec.job == 2:\n    {body}")
    second = box.make(2, time_limit_seconds=0.3 if how == "time limit" else None)
    box.hand_over(1, second)
    if how == "cancelled":
        until(lambda: second.log.read_text() if record(second) else "")
        second.stop.write_text(json.dumps({"reason": "cancel", "message": ""}))
        box.supervisors[0].send_signal(signal.SIGTERM)
    found = ended(second)
    assert (found["state"], found["reason"], found["exit"]["code"]) == expected
    assert ended(first)["state"] == "COMPLETED"
    box.supervisors[0].wait(10)
    assert not lives(record(first)["trainer"]["pid"]) and list(box.paths.residents.iterdir()) == []


def test_a_later_job_hears_what_it_is_told_and_nothing_that_was_meant_for_the_one_before(box: Box) -> None:
    hears = "time.sleep(0.2)\nif spec.job == 2:\n    os.write(1, os.read(3, 4096))"
    box.supervise(box.make(1, time_limit_seconds=1000.0), hears)
    second = box.make(2, time_limit_seconds=2000.0)
    box.hand_over(1, second)
    ended(second)
    (line,) = second.log.read_text().splitlines()[1:]
    order = json.loads(line)
    assert order["order"] == "deadline" and 1900 < order["at"] - time.monotonic() <= 2000


@pytest.mark.parametrize(
    ("point", "is_claimed"),
    [
        ("resident.claim", False),
        ("resident.claimed", True),
        ("resident.told", True),
        ("supervisor.claim", None),
    ],
)
def test_a_supervisor_that_is_killed_around_its_claim_leaves_no_doubt(
    box: Box, point: str, is_claimed: bool | None
) -> None:
    """Either the attempt can be started afresh, or it is lost and says so."""
    nth = "@2" if point == "supervisor.claim" else ""
    box.supervise(box.make(1), GPUJOBS_FAILPOINTS=f"{point}=kill{nth}")
    second = box.make(2)
    note = box.resident(1)
    try:
        asyncio.run(residents.hand_over(box.paths, note, second))
    except LauncherError:
        assert is_claimed
    box.supervisors[0].wait(10)
    until(lambda: not lives(note.trainer.pid))
    assert second.claim.exists() is bool(is_claimed)
    found = attempts.status_of(attempts.Attempt(second, f"{2:032x}"))
    assert found is (AttemptStatus.LOST if is_claimed else AttemptStatus.NEVER_STARTED)
