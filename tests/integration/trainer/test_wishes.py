"""What a supervisor is asked for while it follows a trainer, and what it passes on; what it says of an attempt."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
from pathlib import Path
from typing import Any

from gpujobs.linux import sockets
from gpujobs.paths import AttemptPaths, JobPaths
from tests.acceptance.harness import eventually, is_alive
from tests.specs import spec_json

from .supervising import program, start, supervise
from .test_supervisor_ends import Live

REPEATS = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.write(1, b"ready\\n")
while said := os.read(messages, 4096):
    os.write(1, said)
    if b'"stop"' in said:
        os._exit(9)
"""
"""What it is told, in its log, until it is told to stop."""


def heard(paths: AttemptPaths) -> list[Any]:
    lines = paths.log.read_text().splitlines()
    return [json.loads(line) for line in lines if line != "ready"]


def ask(live: Live, **wishes: Any) -> None:
    live.paths.wishes.write_text(json.dumps(wishes))
    live.process.send_signal(signal.SIGTERM)


def until_heard(live: Live, count: int) -> list[Any]:
    eventually(lambda: len(heard(live.paths)) >= count, 20)
    return heard(live.paths)


def test_wishes_are_passed_on_once_each_and_a_stop_with_its_reason(tmp_path: Path) -> None:
    live = Live(tmp_path / "a", REPEATS, time_limit_seconds=1000.0)
    (first,) = until_heard(live, 1)
    ask(live, finish=True, time_limit_seconds=1000.0)
    assert until_heard(live, 2)[1:] == [{"order": "finish"}]
    ask(live, finish=True, time_limit_seconds=2000.0)
    (second,) = until_heard(live, 3)[2:]
    assert second["order"] == first["order"] == "deadline", "to finish is asked for once"
    assert abs(second["at"] - first["at"] - 1000) < 0.001, "both are counted from the trainer's start"
    live.stop("preempt")
    record = live.end()
    assert heard(live.paths)[3:] == [{"order": "stop", "reason": "preempt"}]
    assert (record["stopped_for"], record["message"]) == ("preempt", "for preempt")


def test_a_stop_counts_before_wishes_that_were_not_heard_yet(tmp_path: Path) -> None:
    live = Live(tmp_path / "a", REPEATS)
    live.paths.wishes.write_text(json.dumps({"finish": True, "time_limit_seconds": None}))
    live.stop("cancel")
    assert live.end()["state"] == "CANCELLED"
    assert {"order": "finish"} not in heard(live.paths)


def test_a_limit_that_is_made_shorter_holds_in_place_of_the_longer_one(tmp_path: Path) -> None:
    live = Live(tmp_path / "a", REPEATS, time_limit_seconds=1000.0)
    ask(live, finish=False, time_limit_seconds=0.25)
    record = live.end()
    assert (record["state"], record["message"]) == ("TIMEOUT", "reached its time limit of 0.25 seconds")


def test_a_job_runs_from_its_first_word_and_what_it_says_twice_is_told_once(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as agent:
        with sockets.short_path(path) as name:
            agent.bind(name)
        body = """
        time.sleep(0.05)
        for _ in range(2):
            os.write(messages, b'{"event": "started"}\\n{"event": "finishing"}\\n')
            time.sleep(0.05)
        os._exit(7)
        """
        record = supervise(tmp_path / "a", body, str(path))
        agent.settimeout(5)
        told: list[dict[str, Any]] = []
        while not told or told[-1]["what"] != "exited":
            told.append(json.loads(agent.recv(1 << 16)))
    assert [one["what"] for one in told] == ["started", "warning", "exited"]
    assert told[1]["message"] == "the training finishes before its last epoch"
    assert record["started_at"] < record["running_at"] == told[0]["at"] < record["ended_at"]
    assert supervise(tmp_path / "b", "os._exit(7)")["running_at"] is None


def test_the_last_progress_is_in_its_file_however_quickly_it_came(tmp_path: Path) -> None:
    """It is written once a second; the end waits for none of these."""
    body = """
    for epoch in range(1, 4):
        os.write(messages, b'{"event": "progress", "progress": {"epoch": %d}}\\n' % epoch)
        time.sleep(0.05)
    os._exit(7)
    """
    supervise(tmp_path / "a", body)
    assert json.loads(AttemptPaths(tmp_path / "a").progress.read_text()) == {"epoch": 3}


def test_what_another_user_has_left_is_closed_to_that_user_before_it_is_collected(tmp_path: Path) -> None:
    somebody = {"uid": os.geteuid() + 1, "gid": os.getegid(), "groups": [], "home": "/"}
    cases: list[tuple[str, dict[str, Any]]] = [("theirs", {"identity": somebody}), ("own", {})]
    for name, identity in cases:
        job = tmp_path / name / "job"
        job.mkdir(parents=True)
        job.chmod(0o711)
        supervise(tmp_path / name, "os._exit(1)", **identity)
        assert stat.S_IMODE(job.stat().st_mode) == (0o700 if name == "theirs" else 0o711)


SOON = """
from gpujobs.supervise import supervision
supervision.EXIT_RETRY_SECONDS = 0.02
"""


def test_a_record_that_could_not_be_written_is_written_as_soon_as_it_can_be(tmp_path: Path) -> None:
    paths = AttemptPaths(tmp_path)
    (tmp_path / "job").mkdir()
    paths.spec.write_text(json.dumps(spec_json(job=3, job_dir=str(tmp_path / "job"))))
    body = f"""
    while not os.path.exists({str(paths.record)!r}):
        time.sleep(0.01)
    os._exit(7)
    """
    supervisor = start(SOON + program(body), tmp_path, GPUJOBS_FAILPOINTS="supervisor.record=error:ENOSPC*1")
    assert supervisor.wait(20) == 0
    assert json.loads(paths.exit.read_text())["exit"]["code"] == 7
    assert json.loads(paths.record.read_text())["supervisor"]["pid"] == supervisor.pid


BROKEN = """
from gpujobs.supervise.supervision import Supervision

def watch(self):
    while not self.paths.log.read_bytes().endswith(b"."):
        self._wait()
    raise ArithmeticError("so it is")

Supervision.watch = watch
"""


def test_a_supervisor_that_fails_leaves_no_process_of_its_trainers(tmp_path: Path) -> None:
    """Before it says that the attempt has ended: the device is another job's then."""
    paths = AttemptPaths(tmp_path)
    (tmp_path / "job").mkdir()
    paths.spec.write_text(json.dumps(spec_json(job=3, job_dir=str(tmp_path / "job"))))
    body = """
    if os.fork() == 0:
        os.setsid()
        os.write(1, b"%d." % os.getpid())
    time.sleep(60)
    """
    assert start(BROKEN + program(body), tmp_path).wait(30) == 0
    record = json.loads(paths.exit.read_text())
    assert (record["state"], record["reason"]) == ("FAILED", "LaunchFailed")
    assert record["message"] == "the supervisor failed: ArithmeticError('so it is')"
    assert not is_alive(int(paths.log.read_text().rstrip(".")))


def test_a_refusal_to_start_is_told_with_the_nonce_of_what_was_asked_for(tmp_path: Path) -> None:
    paths = JobPaths(tmp_path / "3").attempt(1)
    paths.root.mkdir(parents=True)
    spec = {**spec_json(job=3, nonce="5e", state_id="9a"), "colour": "red"}
    paths.spec.write_text(json.dumps(spec))
    path = tmp_path / "agent.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as agent:
        with sockets.short_path(path) as name:
            agent.bind(name)
        assert start(program("os._exit(0)"), paths.root, path).wait(30) == 0
        agent.settimeout(5)
        told = json.loads(agent.recv(1 << 16))
    assert (told["what"], told["nonce"], told["exit"]["nonce"]) == ("exited", "5e", "5e")
    assert told["exit"] == json.loads(paths.exit.read_text()) and told["exit"]["state_id"] == "9a"
    assert told["exit"]["message"] == "the attempt cannot be started: spec.json: colour is unknown"
