"""How a supervisor ends what it watches, and what it believes of an end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gpujobs.linux import durable
from gpujobs.linux.sockets import Notifier
from gpujobs.model import StopReason
from gpujobs.paths import AttemptPaths, JobPaths
from gpujobs.protocol import codec
from gpujobs.protocol.records import Wishes
from gpujobs.supervise.supervision import Supervision
from gpujobs.supervise.timers import Timers
from tests.acceptance.harness import eventually, is_alive
from tests.specs import attempt_spec, spec_json

from .supervising import SUPERVISORS, program, start, supervise
from .with_keras import python_with_keras

DEAF = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
os.write(1, b"ready")
time.sleep(60)
"""


class Live:
    """A supervisor whose trainer has said that it is ready."""

    def __init__(self, directory: Path, body: str, **more: Any) -> None:
        self.paths = AttemptPaths(directory)
        (directory / "job").mkdir(parents=True)
        spec = spec_json(job=3, job_dir=str(directory / "job"), **more)
        self.paths.spec.write_text(json.dumps(spec))
        self.process = start(program(body), directory)
        eventually(lambda: self.paths.record.exists() and b"ready" in self.paths.log.read_bytes(), 30)

    def stop(self, reason: str | None) -> None:
        if reason is not None:
            self.paths.stop.write_text(json.dumps({"reason": reason, "message": f"for {reason}"}))
        self.process.send_signal(signal.SIGTERM)

    def end(self) -> dict[str, Any]:
        assert self.process.wait(20) == 0
        record: dict[str, Any] = json.loads(self.paths.exit.read_text())
        return record


def test_a_trainer_that_is_deaf_to_sigterm_is_killed_when_its_grace_is_over(tmp_path: Path) -> None:
    live = Live(tmp_path / "a", DEAF, grace_seconds=0.3)
    live.stop("cancel")
    record = live.end()
    assert (record["state"], record["message"]) == ("CANCELLED", "for cancel")
    assert record["exit"]["signal"] == signal.SIGKILL


HEARS = """
import signal, time
def heard(*_):
    os.write(1, b"heard")
signal.signal(signal.SIGTERM, heard)
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
os.write(1, b"ready")
end = time.time() + 60
while time.time() < end:
    time.sleep(1)
"""


def test_a_time_limit_that_comes_while_a_trainer_is_stopped_is_not_why_it_ends() -> None:
    stopping = object.__new__(Supervision)
    stopping.stop_reason, stopping.status = StopReason.CANCEL, None
    stopping._stop(StopReason.TIME_LIMIT)
    assert stopping.stop_reason is StopReason.CANCEL


def test_a_limit_is_counted_from_the_trainers_start_whenever_it_is_set() -> None:
    """100 s ago. It is announced 5 min before, or in its last tenth, and not where that is past."""
    limited = object.__new__(Supervision)
    limited.timers, limited.began = Timers(), time.monotonic() - 100
    with Path(os.devnull).open("wb") as nobody:
        limited.trainer = SimpleNamespace(messages=nobody.fileno())  # type: ignore[assignment]
        for limit, warning, end in ((150.0, 35, 50), (9000.0, 8600, 8900), (105.0, None, 5), (90.0, None, 0)):
            limited._limit(limit)
            if warning is not None:
                assert limited.timers.seconds_left() == pytest.approx(warning, abs=2)
                limited.timers.drop("warning")
            assert limited.timers.seconds_left() == pytest.approx(end, abs=2)
        limited._limit(None)
    assert limited.timers.seconds_left() is None


def test_the_first_reason_to_stop_is_the_one_that_counts(tmp_path: Path) -> None:
    live = Live(tmp_path / "a", HEARS, grace_seconds=1)
    live.stop("preempt")
    eventually(lambda: b"heard" in live.paths.log.read_bytes(), 10)
    live.stop("cancel")
    record = live.end()
    assert (record["stopped_for"], record["message"]) == ("preempt", "for preempt")


def test_a_signal_without_a_request_cancels_nothing(tmp_path: Path) -> None:
    live = Live(tmp_path / "a", DEAF, grace_seconds=0.3)
    live.stop(None)
    record = live.end()
    assert (record["state"], record["reason"], record["stopped_for"]) == ("CANCELLED", "", "shutdown")


@dataclass
class Asked:
    """A supervision whose trainer is not there: what it is told, and whether it is stopped."""

    directory: Path
    orders: list[str] = field(default_factory=list)
    stops: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.paths = AttemptPaths(self.directory)
        self._signals, self._signalled = os.pipe()
        self.supervision = Supervision(self.paths, attempt_spec(), Notifier(None), -1, self._signals)
        self.supervision._order = lambda order: self.orders.append(order.tag)  # type: ignore[method-assign]
        self.supervision._stop = self.stops.append  # type: ignore[method-assign,assignment]

    def close(self) -> None:
        self.supervision.selector.close()
        self.supervision.notifier._socket.close()
        for descriptor in (self._signals, self._signalled):
            os.close(descriptor)

    def wish(self, *, finish: bool = False, limit_seconds: float | None = None) -> None:
        durable.write_json(self.paths.wishes, codec.write(Wishes(finish, limit_seconds)))

    def signal(self) -> None:
        os.write(self._signalled, b"x")
        self.supervision._on_signal(self._signals)


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[Asked]:
    asked = Asked(tmp_path)
    yield asked
    asked.close()


def test_what_is_asked_of_a_training_twice_does_not_stop_it(asked: Asked) -> None:
    """`gpujobs finish 7`, and once more: the second asks for what is asked for already."""
    for wished_at in (0.0, 3600.0):
        asked.wish(finish=True)
        asked.signal()
        asked.supervision.wished_at -= wished_at
    assert (asked.orders, asked.stops) == (["finish"], [])
    asked.signal()
    assert asked.stops == [StopReason.SHUTDOWN], "of a signal that nobody has given a reason for"


def test_the_signal_of_a_wish_that_was_read_with_the_one_before_it_is_no_stop(asked: Asked) -> None:
    """`finish` and `limit` at the same moment: the second is written when the supervisor comes to the first."""
    asked.wish(finish=True)
    asked.wish(finish=True, limit_seconds=7200)
    asked.signal()
    asked.signal()
    assert (asked.orders, asked.stops) == (["finish", "deadline"], [])
    assert asked.supervision.time_limit_seconds == 7200


def test_a_link_is_no_result(tmp_path: Path) -> None:
    job = JobPaths(tmp_path / "a/job")
    job.results.mkdir(parents=True)
    (tmp_path / "metrics").write_text("{}")
    (job.results / "metrics.json").symlink_to(tmp_path / "metrics")
    assert supervise(tmp_path / "a", "os._exit(0)")["state"] == "FAILED"
    (job.results / "metrics.json").unlink()
    (job.results / "metrics.json").write_text("{}")
    (tmp_path / "a/claim").unlink()
    assert supervise(tmp_path / "a", "os._exit(0)")["state"] == "COMPLETED"


def test_the_kernels_end_of_a_trainer_for_memory_is_told_from_a_signal(tmp_path: Path) -> None:
    """The kernel counts such ends; the count is what is given here."""
    counted = "from gpujobs.linux import process; n = [4, 5]; process.oom_kills = lambda: n.pop(0)"
    (tmp_path / "a/job").mkdir(parents=True)
    spec = spec_json(job=3, job_dir=str(tmp_path / "a/job"))
    AttemptPaths(tmp_path / "a").spec.write_text(json.dumps(spec))
    code = counted + program("os.kill(os.getpid(), 9)")
    assert start(code, tmp_path / "a").wait(60) == 0
    record = json.loads((tmp_path / "a/exit.json").read_text())
    assert (record["state"], record["reason"]) == ("OUT_OF_MEMORY", "HostOutOfMemory")


def test_a_line_without_an_end_does_not_fill_the_supervisors_memory(tmp_path: Path) -> None:
    body = """
    for _ in range(3000):
        os.write(messages, b"x" * 65536)
    os._exit(7)
    """
    (tmp_path / "a/job").mkdir(parents=True)
    spec = spec_json(job=3, job_dir=str(tmp_path / "a/job"))
    AttemptPaths(tmp_path / "a").spec.write_text(json.dumps(spec))
    code = program(body)
    code += "\nprint([line for line in open('/proc/self/status') if line.startswith('VmHWM:')][0].split()[1])"
    done = SUPERVISORS.run(code, tmp_path / "a", "")
    assert int(done.stdout) < 170_000  # KiB; the line has 192 MiB
    assert json.loads((tmp_path / "a/exit.json").read_text())["exit"]["code"] == 7


NOTED = """
import os
from gpujobs.supervise import supervisor

def noted(call, what):
    def wrapped(*arguments):
        with open({notes!r}, "a") as notes:
            print(what(*arguments), file=notes)
        return call(*arguments)
    return wrapped

os.fsync = noted(os.fsync, lambda descriptor: os.path.basename(os.readlink(f"/proc/self/fd/{{descriptor}}")))
supervisor.Notifier.send = noted(supervisor.Notifier.send, lambda _, said: said.decode())
"""


def test_the_record_of_an_end_is_on_the_disk_before_anybody_is_told(tmp_path: Path) -> None:
    """And so is its name."""
    root, notes = tmp_path / "attempt", tmp_path / "notes"
    (root / "job").mkdir(parents=True)
    AttemptPaths(root).spec.write_text(json.dumps(spec_json(job=3, job_dir=str(root / "job"))))
    assert start(NOTED.format(notes=str(notes)) + program("pass"), root).wait(60) == 0
    done = notes.read_text().splitlines()
    told = next(number for number, line in enumerate(done) if '"exited"' in line)
    written = done.index("exit.json.tmp")
    assert "attempt" in done[written:told]


def test_what_is_written_durably_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So is all that is written durably: first the file, then its name."""
    done: list[str] = []
    real_sync, real_rename = os.fsync, Path.replace

    def sync(descriptor: int) -> None:
        done.append("sync " + Path(f"/proc/self/fd/{descriptor}").readlink().name)
        real_sync(descriptor)

    def replace(self: Path, target: Path) -> Path:
        done.append("rename")
        return real_rename(self, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(Path, "replace", replace)
    durable.write_json(tmp_path / "exit.json", {})
    assert done == ["sync exit.json.tmp", "rename", f"sync {tmp_path.name}"]
    done.clear()
    durable.create(tmp_path / "claim", b"x")
    assert done == [f"sync claim.{os.getpid()}.tmp", f"sync {tmp_path.name}"]


CHILD = """
import json, os, resource, signal, sys, time
from pathlib import Path
from gpujobs.supervise import child
from tests.specs import attempt_spec

def train_job(spec, kept, is_first):
    links = {one.name: one for one in Path("/proc/self/fd").iterdir()}
    print(json.dumps({
        "pid": os.getpid(), "umask": os.umask(0), "core": resource.getrlimit(resource.RLIMIT_CORE),
        "directory": os.getcwd(), "environment": dict(os.environ),
        "open": {name: os.readlink(one) for name, one in links.items() if os.path.lexists(one)},
    }), flush=True)
    time.sleep(60)

child.train_job = train_job
spec = attempt_spec(job_dir=Path(sys.argv[1]))
secret, messages = (os.open(spec.job_dir / name, os.O_CREAT | os.O_WRONLY) for name in ("secret", "messages"))
assert secret == child.MESSAGES_FD
pid = os.fork()
if pid == 0:
    child.run_trainer(spec, 1, messages)
signal.pause()
"""


def test_a_trainer_has_what_is_its_own_alone_and_ends_with_its_supervisor(tmp_path: Path) -> None:
    """A descriptor for messages, its output, an environment of its own; files that nobody else reads, and no core."""
    work = tmp_path / "work"
    work.mkdir()
    supervisor = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "SECRET": "of who started the daemon"},
    )
    assert supervisor.stdin is not None and supervisor.stdout is not None
    found = json.loads(supervisor.stdout.readline())
    assert (found["umask"], found["core"], found["directory"]) == (0o077, [0, 0], str(work))
    assert (work / "tmp").stat().st_mode & 0o777 == 0o700
    opened = {
        name: place for name, place in found["open"].items() if name in "0123" or str(tmp_path) in place
    }
    assert opened["1"] == opened["2"] and opened["1"].startswith("pipe:")
    assert (opened["0"], opened["3"]) == (os.devnull, str(tmp_path / "messages"))
    assert opened.keys() == {"0", "1", "2", "3"}
    own = {"HOME": str(Path.home()), "USER": "somebody", "LOGNAME": "somebody", "TMPDIR": str(work / "tmp")}
    assert found["environment"] == {**found["environment"], **own} and "SECRET" not in found["environment"]
    assert is_alive(found["pid"])
    supervisor.kill()
    supervisor.wait()
    eventually(lambda: not is_alive(found["pid"]), 10)
    supervisor.stdin.close()
    supervisor.stdout.close()


NEXT = """
import os, sys, tempfile
from dataclasses import replace
from pathlib import Path
from gpujobs.supervise import child
from tests.specs import attempt_spec

root, jobs = Path(sys.argv[1]), iter(["second", "third"])
code, may_stay = int(sys.argv[2]), sys.argv[3] == "stays"
sys.stdout = open(1, "w", closefd=False)  # which holds back what is printed, whatever the environment says

def train_job(spec, kept, is_first):
    assert os.environ["TMPDIR"] == str(spec.job_dir / "work/tmp") and os.getcwd() == str(spec.job_dir / "work")
    assert tempfile.gettempdir() == os.environ["TMPDIR"]
    os.write(2, f"begins {spec.job_dir.name} {is_first}\\n".encode())
    print("wrote", spec.job_dir.name)  # and leaves it in the buffer
    return code

def next_spec(messages):
    os.write(2, f"ended in {os.getcwd()}\\n".encode())
    return replace(spec, job_dir=root / next(jobs))

child.train_job, child.next_spec = train_job, next_spec
spec = attempt_spec(job_dir=root / "first", may_stay=may_stay)
child.run_trainer(spec, 1, os.open(os.devnull, os.O_WRONLY))
"""


def test_what_a_job_has_written_is_out_before_it_has_ended_and_only_the_first_takes_the_device(
    tmp_path: Path,
) -> None:
    """The third has lost its directory, and so has its trainer ended with an error."""
    for name in ("first", "second"):
        (tmp_path / name / "work").mkdir(parents=True)
    done = python_with_keras(NEXT, tmp_path, 0, "stays")
    ours = ("begins", "wrote", "ended", "FileNotFoundError")  # and what the backend says of devices
    *lines, error = [line for line in done.stdout.splitlines() if line.startswith(ours)]
    assert lines == [
        "begins first True", "wrote first", "ended in /", "begins second False", "wrote second", "ended in /",
    ]  # fmt: skip
    assert error.startswith("FileNotFoundError") and str(tmp_path / "third") in error
    assert done.returncode == 1


@pytest.mark.parametrize(("code", "stays"), [(0, "leaves"), (3, "stays")])
def test_a_trainer_that_has_failed_or_may_not_stay_takes_no_other_job(
    tmp_path: Path, code: int, stays: str
) -> None:
    (tmp_path / "first/work").mkdir(parents=True)
    done = python_with_keras(NEXT, tmp_path, code, stays)
    assert (done.returncode, "wrote first" in done.stdout, "ended" in done.stdout) == (code, True, False)
