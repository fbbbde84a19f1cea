"""The real supervisor over trainers that a real job file cannot make: they exit, and leave children behind."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gpujobs.linux import cgroup, sockets
from gpujobs.paths import AttemptPaths
from gpujobs.protocol.training import MAX_WARNINGS
from tests.integration.trainer.supervising import supervise


def test_a_trainer_that_exits_by_itself(tmp_path: Path) -> None:
    record = supervise(tmp_path / "a", "os._exit(7)")
    assert (record["state"], record["reason"]) == ("FAILED", "NonZeroExit")
    assert record["exit"] == {"code": 7, "signal": None}
    assert record["message"] == "the trainer exited with code 7"


USES_MUCH = """
import resource, time
held = b"x" * (300 << 20)
while time.process_time() < 0.5:
    pass
own = resource.getrusage(resource.RUSAGE_SELF)
print("own", own.ru_maxrss * 1024, own.ru_utime + own.ru_stime, flush=True)
"""


@pytest.mark.parametrize("end", ["os._exit(7)", "os.kill(os.getpid(), 9)"])
def test_what_a_trainer_has_used_is_the_kernels_word_however_it_ends(tmp_path: Path, end: str) -> None:
    record = supervise(tmp_path / "a", f"{USES_MUCH}\n{end}")
    (line,) = [one for one in (tmp_path / "a" / "log.txt").read_text().splitlines() if one.startswith("own")]
    peak, seconds = map(float, line.split()[1:])
    assert record["host"]["peak_memory_bytes"] >= max(peak, 300 << 20)
    assert record["host"]["peak_memory_bytes"] == pytest.approx(peak, rel=0.1)
    assert record["host"]["cpu_seconds"] == pytest.approx(seconds, abs=0.2) and seconds >= 0.5


def test_an_end_without_results_is_no_success(tmp_path: Path) -> None:
    record = supervise(tmp_path / "a", "os._exit(0)")
    assert (record["state"], record["reason"]) == ("FAILED", "TrainingError")


def test_a_time_limit_is_announced_in_the_log_before_it_comes(tmp_path: Path) -> None:
    record = supervise(tmp_path / "a", "import time; time.sleep(1000)", time_limit_seconds=1)
    assert (record["state"], record["reason"]) == ("TIMEOUT", "TimeLimit")
    log = AttemptPaths(tmp_path / "a").log.read_text()
    assert log == (
        "gpujobs: the time limit is reached in 0.1 seconds; then the job is stopped at a checkpoint\n"
    )


def test_a_training_whose_directory_was_removed_is_ended(tmp_path: Path) -> None:
    """Nobody could ask for its end, or for its model."""
    directory, pid = tmp_path / "a", tmp_path / "pid"
    body = f"""
    import shutil, signal, time
    open({str(pid)!r}, "w").write(str(os.getpid()))
    while not os.path.exists({str(directory / "record.json")!r}):
        time.sleep(0.01)
    signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIGTERM}})  # it comes before all is removed
    shutil.rmtree({str(directory)!r})
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {{signal.SIGTERM}})
    time.sleep(1000)
    """
    with (
        contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as agent,
        pytest.raises(FileNotFoundError, match=r"exit\.json"),
    ):
        agent.settimeout(5)
        agent.bind(str(tmp_path / "n"))
        try:
            supervise(directory, body, str(tmp_path / "n"))
        finally:
            told = [json.loads(agent.recv(65536)) for _ in range(2)]
    assert [one["what"] for one in told] == ["log", "exited"]
    assert (told[1]["exit"]["state"], told[1]["exit"]["reason"]) == ("FAILED", "FilesRemoved")
    assert told[1]["exit"]["message"].startswith(f"{directory} was removed while it ran")
    assert not Path(f"/proc/{pid.read_text()}").exists()


def test_a_directory_that_was_moved_is_still_there(tmp_path: Path) -> None:
    directory = tmp_path / "a"
    body = f"""
    os.rename({str(directory)!r}, {str(tmp_path / "b")!r})
    os.rename({str(tmp_path / "b")!r}, {str(directory)!r})
    os._exit(7)
    """
    assert supervise(directory, body)["reason"] == "NonZeroExit"


def test_children_left_behind_are_killed(tmp_path: Path) -> None:
    """Also one that has its own session and whose parent is gone: the supervisor is their subreaper."""
    left = tmp_path / "left"
    body = f"""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            with open({str(left)!r}, "w") as file:
                file.write(str(os.getpid()))
        import time
        time.sleep(1000)
    import time
    while not (os.path.exists({str(left)!r}) and os.path.getsize({str(left)!r})):
        time.sleep(0.01)
    os._exit(1)
    """
    supervise(tmp_path / "a", body)
    assert not Path(f"/proc/{left.read_text()}").exists()


def test_another_user_leaves_no_process_behind(as_root: None, tmp_path: Path) -> None:
    """A daemon as the books have it: forked twice, in a session of its own, deaf to signals."""
    body = """
    import signal, time
    os.setgroups([])
    os.setresgid(12345, 12345, 12345)
    os.setresuid(12345, 12345, 12345)
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
            os.write(1, b"%d %d" % (os.getpid(), os.getuid()))
            os.write(writer, b"x")
            time.sleep(1000)
        os._exit(0)
    os.read(reader, 1)
    os._exit(1)
    """
    supervise(tmp_path / "a", body)
    pid, uid = (tmp_path / "a/log.txt").read_text().split()
    assert uid == "12345"
    assert not Path(f"/proc/{pid}").exists()


COMET = """
#include <time.h>
#include <unistd.h>
int main(void) {
    time_t end = time(0) + 30;  // in case it does get away
    while (time(0) < end) {
        setsid();
        if (fork() > 0) _exit(0);
    }
}
"""


def test_a_process_that_forks_faster_than_it_is_looked_for(tmp_path: Path) -> None:
    """Each lives for microseconds: killing one by one never ends. Its control group ends them all at once."""
    probe = cgroup.make(f"gpujobs-test-{os.getpid()}")
    if probe is None:
        pytest.skip("no control group (version 2) can be made here")
    probe.remove()
    program = tmp_path / "comet"
    subprocess.run(["cc", "-O2", "-x", "c", "-", "-o", str(program)], input=COMET, text=True, check=True)
    body = f"""
    import subprocess, time
    subprocess.Popen([{str(program)!r}])
    time.sleep(0.2)  # let it get away
    os._exit(1)
    """
    supervise(tmp_path / "a", body)
    assert not [entry for entry in Path("/proc").iterdir() if _runs(entry, program)]
    record = json.loads((tmp_path / "a/record.json").read_text())
    assert not Path(record["cgroup"]).exists()


def _runs(process: Path, program: Path) -> bool:
    try:
        return (process / "exe").readlink() == program
    except OSError:
        return False


def test_a_log_has_an_end(tmp_path: Path) -> None:
    body = """
    for _ in range(40):
        os.write(1, b"x" * 65536)
    os._exit(7)
    """
    record = supervise(tmp_path / "a", body, log_limit_bytes=100_000)
    log = (tmp_path / "a/log.txt").read_bytes()
    assert log.startswith(b"x" * 100_000) and len(log) < 100_100
    assert log.endswith(b"[this log is cut here, at 100000 bytes]\n")
    assert record["exit"]["code"] == 7 and "cut at 100000 bytes" in record["message"]


def test_what_a_trainer_says_is_believed_in_shape_only(tmp_path: Path) -> None:
    r"""A lone surrogate (`\ud800`) is in no UTF-8: the store could not take it."""
    body = """
    os.write(messages, b'[1]\\n{"event": "progress", "progress": {"epoch": 1, "loss": NaN, "x": [1]}}\\n')
    os.write(messages, b"[" * 70000 + b"\\n")
    os.write(messages, b'{"event": "failed", "reason": "CancelledByUser", "message": "a\\\\ud800b"}\\n')
    os._exit(1)
    """
    record = supervise(tmp_path / "a", body)
    assert record["progress"] == {"epoch": 1, "loss": None, "x": None}
    assert (record["reason"], record["message"]) == ("TrainingError", "a?b")


def test_datagrams_tell_the_agent(tmp_path: Path) -> None:
    """Through a path longer than a socket's name can be."""
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    path = deep / "agent.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as agent:
        with sockets.short_path(path) as name:
            agent.bind(name)
        body = """
        os.write(messages, b'{"event": "started"}\\n{"event": "progress", "progress": {"epoch": 1, "epochs": 2}}\\n')
        print("hello", flush=True)
        os._exit(0)
        """
        supervise(tmp_path / "a", body, str(path))
        agent.settimeout(1)
        events: list[dict[str, Any]] = []
        while not events or events[-1]["what"] != "exited":
            events.append(json.loads(agent.recv(1 << 16)))
    assert {event["event"] for event in events} == {"attempt"}
    assert {(event["job"], event["attempt"]) for event in events} == {(3, 1)}
    assert "started" in [event["what"] for event in events]
    assert events[-1]["exit"]["progress"] == {"epoch": 1, "epochs": 2}


def test_streams_at_a_path_longer_than_a_name_can_be(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    with sockets.listen(deep / "l.sock") as listener, sockets.connect(deep / "l.sock") as client:
        assert (deep / "l.sock").stat().st_mode & 0o777 == 0o600
        with listener.accept()[0] as server:
            client.sendall(b"x")
            assert server.recv(1) == b"x"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 128 KiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "none", str(disk)], check=False)
    if done.returncode:
        pytest.skip("this machine does not let tests mount")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_does_not_end_the_training(tmp_path: Path, small_disk: Path) -> None:
    """The log ends early, the attempt goes on, and the record, written elsewhere, says that it is not whole."""
    attempt = tmp_path / "a"
    attempt.mkdir()
    (attempt / "log.txt").symlink_to(small_disk / "log.txt")
    body = """
    for _ in range(40):
        os.write(1, b"x" * 65536)
    os._exit(7)
    """
    record = supervise(attempt, body)
    assert record["exit"]["code"] == 7
    assert "the log is not whole: No space left on device" in record["message"]
    assert (small_disk / "log.txt").stat().st_size <= 128 << 10


def test_progress_that_could_not_be_written_is_told_with_the_end(tmp_path: Path, small_disk: Path) -> None:
    """The attempt's directory itself is on the full disk, and its end is recorded when that has room again."""
    path = tmp_path / "agent.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as agent:
        with sockets.short_path(path) as name:
            agent.bind(name)
        agent.settimeout(60)

        def make_room() -> None:
            while json.loads(agent.recv(1 << 16))["what"] != "exited":
                pass
            (small_disk / "filler").unlink()

        body = f"""
        with open("{small_disk}/filler", "wb", buffering=0) as filler:
            try:
                while filler.write(bytes(1 << 12)):
                    pass
            except OSError:
                pass
        os.write(messages, b'{{"event": "progress", "progress": {{"epoch": 1, "epochs": 2}}}}\\n')
        os._exit(7)
        """
        making = threading.Thread(target=make_room)
        making.start()
        record = supervise(small_disk / "a", body, str(path))
        making.join()
    assert record["exit"]["code"] == 7 and record["progress"] == {"epoch": 1, "epochs": 2}
    assert "the log is not whole: No space left on device" in record["message"]


def test_what_a_trainer_warns_of_is_told_and_not_without_end(tmp_path: Path) -> None:
    """It becomes rows of the store; of what is no text nothing is told."""
    path = tmp_path / "agent.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as agent:
        with sockets.short_path(path) as name:
            agent.bind(name)
        body = """
        os.write(messages, b'{"event": "warning", "message": 7}\\n')
        for _ in range(30):  # not faster than they are read: a datagram that finds no room is lost
            os.write(messages, b'{"event": "warning", "message": "the disk is full"}\\n')
            time.sleep(0.02)
        os._exit(0)
        """
        agent.settimeout(60)
        events: list[dict[str, Any]] = []

        def listen() -> None:
            while not events or events[-1]["what"] != "exited":
                events.append(json.loads(agent.recv(1 << 16)))

        listener = threading.Thread(target=listen)
        listener.start()
        supervise(tmp_path / "a", body, str(path))
        listener.join()
    told = [event["message"] for event in events if event["what"] == "warning"]
    assert told == ["the disk is full"] * MAX_WARNINGS
