"""What is around a daemon fails: the disk, the store's lock, its socket, its clients; a second daemon; a copy."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from .box import Box, Failure, kill, processes_of, until
from .case import Case, cancelled, long_job, pause, trainer_of
from .processes import STATES

MEGABYTES = 48
LOCKED_SECONDS = 20.0


def cases() -> Iterator[Case]:
    for state in STATES:
        if can_mount():
            yield Case("full disk", f"job {state}", partial(full_disk, state=state), is_fresh=True)
            yield Case("read-only state", f"job {state}", partial(read_only, state=state), is_fresh=True)
        yield Case("locked store", f"for 20 s, job {state}", partial(locked, state=state), is_slow=True)
    if can_mount():
        for wait in (0.0, 0.1, 0.2, 0.4, 0.8):
            run = partial(full_disk_at_once, wait=wait)
            yield Case("full disk", f"{wait:g} s after a submission", run, is_fresh=True)
        yield Case("full disk", "at the start", full_disk_at_start, is_fresh=True)
        yield Case("read-only state", "at the start", read_only_at_start, is_fresh=True)
    for name in ("spool", "spool/jobs", "results", "spool/data"):
        yield Case(
            "directories gone",
            f"{name}, not mounted at the start",
            partial(not_mounted, name=name),
            is_fresh=True,
        )
    for state in ("RUNNING", "COMPLETING", "being cancelled"):
        yield Case("directories gone", f"that of the job, {state}", partial(job_gone, state=state))
    yield Case("two daemons", "of one state directory", two_daemons)
    yield Case("two daemons", "ten at once", ten_daemons, is_fresh=True)
    yield Case("copied state", "served while the original runs", copied, is_fresh=True)
    yield Case("copied state", "served after the original has ended", copied_later, is_fresh=True)
    yield Case("socket", "removed", socket_removed, is_fresh=True)
    yield Case("socket", "removed, then killed", socket_removed_killed, is_fresh=True)
    yield Case("socket", "a file in its place at the start", socket_is_file, is_fresh=True)
    for name, client in CLIENTS.items():
        yield Case("clients", name, partial(clients, client=client))
    for number in range(12):
        yield Case(
            "requests at every moment",
            f"cancel {number * 60} ms after a submission",
            partial(cancel_at, wait=number * 0.06),
        )
    for number in range(8):
        yield Case(
            "requests at every moment",
            f"requeue {number * 80} ms after a submission",
            partial(requeue_at, wait=number * 0.08),
        )
    yield Case("retries", "a job that always crashes", always_crashes)
    yield Case("retries", "kill -9 of each of its supervisors", supervisors_killed)


# Disks


def can_mount() -> bool:
    return os.geteuid() == 0 and _mounts()


_answers: list[bool] = []


def _mounts() -> bool:
    if not _answers:
        import tempfile

        with tempfile.TemporaryDirectory() as name:
            done = subprocess.run(
                ["mount", "-t", "tmpfs", "-o", "size=1m", "none", name], capture_output=True
            )
            _answers.append(done.returncode == 0)
            if done.returncode == 0:
                subprocess.run(["umount", name], check=True)
    return _answers[0]


@contextlib.contextmanager
def small_disk(box: Box) -> Iterator[None]:
    """The box's state directory on a file system of its own."""
    box.cut_power()
    shutil.rmtree(box.state)
    box.state.mkdir(mode=0o700)
    _mount(box, f"size={MEGABYTES}m")
    try:
        box.start()
        yield
        box.ready()
        from .case import finish

        finish(Case("", "", lambda _: None), box)
    finally:
        box.cut_power()
        subprocess.run(["umount", "-l", box.state], check=False)
    box.acknowledged.clear()
    (box.evidence / "starts").unlink(missing_ok=True)
    box.start(wait=False)


def _mount(box: Box, options: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", box.state], check=True)


def fill(box: Box) -> Path:
    path = box.state / "ballast"
    with path.open("ab", buffering=0) as file:
        for size in (1 << 20, 4096, 512):
            with contextlib.suppress(OSError):
                while True:
                    if file.write(b"x" * size) < size:
                        raise OSError(errno.ENOSPC, "full")
    return path


def may_fail_for(box: Box, words: str) -> None:
    """A training that ended while nothing could be written had no place for its results: then it has failed, and the
    reason says so."""
    for job, found in box.jobs().items():
        if found["state"] == "FAILED" and words not in found["message"]:
            raise Failure("lost", f"job {job} ended FAILED: {found['message']}")
        if job in box.acknowledged:
            box.acknowledged[job]["expect"] = (*box.acknowledged[job]["expect"], "FAILED")


def full_disk(box: Box, *, state: str) -> None:
    with small_disk(box):
        with STATES[state](box):
            ballast = fill(box)
            pause(4.0)
            ballast.unlink()
        box.settle()
        may_fail_for(box, "No space left on device")


def full_disk_at_once(box: Box, *, wait: float) -> None:
    with small_disk(box):
        box.must_submit("plain", 30)
        pause(wait)
        ballast = fill(box)
        pause(3.0)
        box.submit()  # may be refused
        ballast.unlink()
        box.settle()
        may_fail_for(box, "No space left on device")


def full_disk_at_start(box: Box) -> None:
    with small_disk(box):
        long_job(box)
        box.cut_power()
        ballast = fill(box)
        box.start(wait=False)
        pause(4.0)
        ballast.unlink()


@contextlib.contextmanager
def unwritable(box: Box) -> Iterator[None]:
    """Files that are open for writing keep a file system from it: then it is mounted anew, beneath."""
    done = subprocess.run(["mount", "-o", "remount,ro", box.state], capture_output=True, text=True)
    if done.returncode != 0:  # busy: a bind mount that is read-only has the same effect for new opens
        subprocess.run(["mount", "--bind", box.state, box.state], check=True)
        subprocess.run(["mount", "-o", "remount,bind,ro", box.state], check=True)
    yield
    if done.returncode != 0:
        subprocess.run(["umount", "-l", box.state], check=True)
    else:
        subprocess.run(["mount", "-o", "remount,rw", box.state], check=True)


def read_only(box: Box, *, state: str) -> None:
    with small_disk(box):
        with STATES[state](box), unwritable(box):
            pause(3.0)
        box.settle()
        may_fail_for(box, "Read-only file system")


def read_only_at_start(box: Box) -> None:
    with small_disk(box):
        long_job(box)
        box.cut_power()
        with unwritable(box):
            box.start(wait=False)
            pause(4.0)


def not_mounted(box: Box, *, name: str) -> None:
    long_job(
        box, "--retries", "3"
    )  # a machine that goes on, as here, says that the job is to blame for its kills
    box.cut_power()
    away = box.root / "away"
    (box.state / name).rename(away)
    box.start(wait=False)
    pause(3.0)
    box.cut_power()
    if (box.state / name).exists():
        shutil.rmtree(box.state / name)
    away.rename(box.state / name)
    box.start(wait=False)


def job_gone(box: Box, *, state: str) -> None:
    with STATES[state](box) as job:
        shutil.rmtree(box.state / "spool" / "jobs" / str(job), ignore_errors=True)
        pause(1.0)
    # At the end: a cancel that is asked for beside it expects other ends, and may come later than the removal.
    box.acknowledged[job]["expect"] = ("COMPLETED", "FAILED", "CANCELLED")


# The store


def locked(box: Box, *, state: str) -> None:
    with STATES[state](box):
        store = sqlite3.connect(box.database, timeout=10)
        store.execute("BEGIN IMMEDIATE")
        pause(LOCKED_SECONDS)
        store.rollback()
        store.close()


# Daemons and copies


def two_daemons(box: Box) -> None:
    job = long_job(box)
    second = box.cli("serve", "--personal", timeout=60)
    if second.returncode == 0 or "already" not in second.stderr + second.stdout:
        raise Failure("wrong", f"a second daemon: exit code {second.returncode}, {second.stderr}")
    if box.state_of(job) == "":
        raise Failure("wrong", "the first daemon is not reached beside a second")


def ten_daemons(box: Box) -> None:
    long_job(box)
    box.kill_daemon()
    many = [
        subprocess.Popen(
            [sys.executable, "-P", "-m", "gpujobs", "serve", "--personal"],
            env=box.environment,
            cwd=box.root,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        for _ in range(10)
    ]
    until(lambda: sum(one.poll() is None for one in many) == 1, 60, "one of ten daemons serves", "doubled")
    pause(1.0)
    alive = [one for one in many if one.poll() is None]
    if len(alive) != 1:
        raise Failure("doubled", f"{len(alive)} daemons serve one state directory")
    box.ready()
    alive[0].kill()
    alive[0].wait()
    box.start(wait=False)


def copied(box: Box) -> None:
    job = long_job(box, seconds=8)
    pid = trainer_of(box, job)
    copy = _copy(box)
    try:
        copy.start()
        pause(2.0)
        if pid not in processes_of(box.state) or box.state_of(job) != "RUNNING":
            raise Failure("lost", f"the original's job {job} is {box.state_of(job)} after a copy was served")
        copy.settle()
    finally:
        copy.close()


def copied_later(box: Box) -> None:
    long_job(box, seconds=4)
    copy = _copy(box)
    try:
        box.settle()
        box.cut_power()
        copy.start()
        copy.settle()
        copy.must_submit()
        copy.settle()
    finally:
        copy.close()
    box.start(wait=False)


def _copy(box: Box) -> Box:
    copy = Box(box.tree, slots=box.slots)
    for _ in range(3):  # files come and go while it is copied, as with cp
        with contextlib.suppress(shutil.Error, OSError):
            shutil.copytree(box.state, copy.state, symlinks=True, ignore=_sockets, dirs_exist_ok=True)
            break
    copy.acknowledged = dict(box.acknowledged)
    copy.numbers = box.numbers
    return copy


def _sockets(directory: str, names: list[str]) -> set[str]:
    return {name for name in names if name.endswith(".sock") or name.startswith(".probe")}


def socket_removed(box: Box) -> None:
    long_job(box)
    box.socket.unlink()
    until(lambda: box.get("/v1/info"), 30, "the daemon listens again where its socket was removed")


def socket_removed_killed(box: Box) -> None:
    long_job(box)
    box.socket.unlink()
    box.kill_daemon()
    box.start(wait=False)


def socket_is_file(box: Box) -> None:
    long_job(box)
    box.cut_power()
    box.socket.unlink(missing_ok=True)
    box.socket.write_text("")
    box.start(wait=False)
    pause(2)
    box.socket.unlink(missing_ok=True) if box.socket.is_file() else None
    box.keep_up()


# Clients


def _connect(box: Box) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(10)
    with contextlib.suppress(OSError):  # it may refuse one that asks too much
        connection.connect(str(box.socket))
    return connection


def half_a_request(connection: socket.socket) -> None:
    connection.sendall(b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n{")


def half_a_header(connection: socket.socket) -> None:
    connection.sendall(b"GET /v1/jo")


def nothing_at_all(connection: socket.socket) -> None:
    return


def never_reading(connection: socket.socket) -> None:
    connection.setblocking(False)
    with contextlib.suppress(OSError):
        for _ in range(2000):
            connection.sendall(b"GET /v1/jobs?all=1 HTTP/1.1\r\nHost: x\r\n\r\n")


def garbage(connection: socket.socket) -> None:
    connection.sendall(os.urandom(4096))


def gone_at_once(connection: socket.socket) -> None:
    connection.sendall(b"GET /v1/jobs?all=1 HTTP/1.1\r\nHost: x\r\n\r\n")
    connection.close()


def half_an_upload(connection: socket.socket) -> None:
    connection.sendall(
        b"PUT /v1/data/" + b"0" * 64 + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\nabc"
    )


CLIENTS: dict[str, Callable[[socket.socket], None]] = {
    "half a request": half_a_request,
    "half a header": half_a_header,
    "nothing said": nothing_at_all,
    "never reading": never_reading,
    "garbage": garbage,
    "gone at once": gone_at_once,
    "half an upload": half_an_upload,
}


def clients(box: Box, *, client: Callable[[socket.socket], None]) -> None:
    """Eight of them, and meanwhile the daemon serves others."""
    connections = [_connect(box) for _ in range(8)]
    for connection in connections:
        with contextlib.suppress(OSError):
            client(connection)
    try:
        job = box.must_submit()
        box.until_state(job, "COMPLETED", seconds=40)
    finally:
        for connection in connections:
            connection.close()


# Requests


def cancel_at(box: Box, *, wait: float) -> None:
    job = box.must_submit("plain", 8)
    pause(wait)
    cancelled(box, job)


def requeue_at(box: Box, *, wait: float) -> None:
    """The first goes back to the queue, or, where it has ended, a new job begins."""
    job = box.must_submit("plain", 8)
    box.acknowledged[job]["expect"] = ("COMPLETED", "CANCELLED")
    asking = threading.Thread(target=lambda: box.cli("requeue", job))
    pause(wait)
    asking.start()
    asking.join()


def always_crashes(box: Box) -> None:
    job = box.must_submit("dies", 8, expect=("FAILED",))
    box.until_state(job, "FAILED")
    if box.jobs()[job]["attempt"] != 2:
        raise Failure(
            "wrong", f"a job that may be retried once has had {box.jobs()[job]['attempt']} attempts"
        )


def supervisors_killed(box: Box) -> None:
    job = box.must_submit("long", 3000, expect=("FAILED",))

    def runs(attempt: int) -> bool:
        return box.state_of(job) == "RUNNING" and box.jobs()[job]["attempt"] == attempt

    for number in (1, 2):
        until(partial(runs, number), 40, f"attempt {number} runs")
        pid = trainer_of(box, job)
        kill([one for one in box.find(f"supervisor: job {job}.") if one != pid])
    box.until_state(job, "FAILED")
