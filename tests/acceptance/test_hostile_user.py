"""bob has a shell on the box, and wants more than is his. The daemon is started where he has prepared the ground."""

from __future__ import annotations

import ctypes
import gzip
import hashlib
import http.client
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gpujobs.client.connection import UnixConnection
from gpujobs.jobfile import expand
from gpujobs.model import Caller
from gpujobs.store.records import DataReference, NewJob
from gpujobs.store.store import Store

from .conftest import running
from .harness import ENDLESS, ROOT, RunningDaemon, eventually, short_directory, write_job
from .people import Person, as_person, body_for, cli_as, known_jobs, request_as, submit_as

TRIES = 1000
CONNECTIONS = 1000
PER_USER = 16
PLANTED_MODULES = ("aiohttp", "json", "numpy", "ray", "tensorflow", "gpujobs", "sitecustomize", "pwd")
SHARED_RAY = Path("/tmp/ray")


@pytest.fixture(scope="module")
def planted(bob: Person) -> Path:
    """A directory of bob's with modules by the names of those that a daemon imports."""
    directory = bob.home / "ground"
    marker = bob.home / "planted-module-has-run"

    def plant() -> None:
        directory.mkdir()
        for name in PLANTED_MODULES:
            (directory / f"{name}.py").write_text(f"open({str(marker)!r}, 'a').write({name!r})\n")

    as_person(bob, plant)
    return directory


@pytest.fixture(scope="module")
def trap(bob: Person) -> Iterator[socket.socket]:
    """/tmp/ray made by bob, with the file that names the current cluster: an address where he listens."""
    if SHARED_RAY.exists():
        pytest.skip(f"{SHARED_RAY} is there already")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        port = listener.getsockname()[1]

        def make() -> None:
            SHARED_RAY.mkdir(mode=0o777)
            (SHARED_RAY / "ray_current_cluster").write_text(f"127.0.0.1:{port}")
            (SHARED_RAY / "session_latest").symlink_to(bob.home)

        as_person(bob, make)
        yield listener
    shutil.rmtree(SHARED_RAY)


@pytest.fixture(scope="module")
def notifications(place: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(place / "notify"))
        systemd.settimeout(30)
        yield systemd


@pytest.fixture(scope="module")
def daemon(
    alice: Person, bob: Person, planted: Path, trap: socket.socket, notifications: socket.socket
) -> Iterator[RunningDaemon]:
    config = f'[quotas]\ndata = "1MiB"\nresults = "1MiB"\nconnections = {PER_USER}\n'
    environment = {"NOTIFY_SOCKET": notifications.getsockname()}
    with running(site=True, config=config, environment=environment, cwd=planted, umask=0o077) as daemon:
        daemon.root.chmod(0o711)
        yield daemon


@pytest.fixture(scope="module")
def completed(daemon: RunningDaemon, bob: Person) -> int:
    """A job of bob's own, with results."""
    job = submit_as(bob, daemon, "his")
    daemon.until(job, "COMPLETED")
    return job


@pytest.fixture(scope="module")
def hers(daemon: RunningDaemon, alice: Person) -> int:
    job = submit_as(alice, daemon, "hers")
    daemon.until(job, "COMPLETED")
    return job


@pytest.fixture
def secret(alice: Person) -> Iterator[Path]:
    """A file of alice's that nobody else can open; as metrics.json it would be read."""
    path = alice.home / "metrics.json"
    path.write_text('{"secret": "of alice"}')
    path.chmod(0o600)
    os.chown(path, alice.uid, alice.gid)
    yield path
    path.unlink()


def answers_alice(daemon: RunningDaemon, alice: Person) -> None:
    done = cli_as(alice, daemon, "status", "--json")
    assert done.returncode == 0, done.stderr


# Before it was started


def test_modules_where_it_was_started_are_not_run(daemon: RunningDaemon, bob: Person, completed: int) -> None:
    assert not (bob.home / "planted-module-has-run").exists()


def test_tmp_ray_made_by_another_has_no_effect(
    daemon: RunningDaemon, trap: socket.socket, completed: int
) -> None:
    with pytest.raises(BlockingIOError):
        trap.accept()
    assert daemon.get("/v1/info")["nodes"][0]["status"] == "ok"


def test_systemd_is_told_when_it_serves(daemon: RunningDaemon, notifications: socket.socket) -> None:
    assert notifications.recv(1000).startswith(b"READY=1\nSTATUS=site daemon")


def test_a_closed_umask_closes_nothing_that_users_need(
    daemon: RunningDaemon, completed: int, bob: Person
) -> None:
    """As the service has it. bob has reached the socket, and his results."""
    model = daemon.paths.result(completed) / "model.keras"
    assert as_person(bob, lambda: model.stat().st_size) > 0
    assert daemon.socket.stat().st_mode & 0o777 == 0o666


# Her trainer


@pytest.fixture(scope="module")
def trainer(daemon: RunningDaemon, alice: Person) -> Iterator[dict[str, Any]]:
    job = submit_as(alice, daemon, "endless", epochs=ENDLESS)
    yield daemon.until_epoch(job, 1)
    daemon.cli("cancel", job, code=0)
    daemon.until(job, "CANCELLED")


PTRACE_ATTACH, PTRACE_SEIZE = 16, 0x4206


def attempts_to_trace(pid: int) -> dict[str, str]:
    """What each of the ways into another process gives: the error's name, or `done`."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
    found = {}
    for name, request in (("attach", PTRACE_ATTACH), ("seize", PTRACE_SEIZE)):
        found[name] = "done" if libc.ptrace(request, pid, None, None) == 0 else "PermissionError"
    for name in ("mem", "environ", "maps", "fd", "cwd", "root", "stack", "auxv", "fdinfo"):
        path = Path(f"/proc/{pid}/{name}")
        try:
            if name in ("fd", "fdinfo"):
                list(path.iterdir())
            elif name in ("cwd", "root"):
                path.readlink()
            else:
                path.read_bytes()
            found[name] = "done"
        except OSError as error:
            found[name] = type(error).__name__
    return found


def test_her_trainer_and_supervisor_cannot_be_signalled(
    daemon: RunningDaemon, trainer: dict[str, Any], bob: Person
) -> None:
    pids = [trainer["pid"], daemon.record(trainer["id"])["supervisor"]["pid"], daemon.pid]

    def signal_all() -> list[str]:
        said = []
        for pid in pids:
            for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP, 0):
                try:
                    os.kill(pid, number)
                    said.append("done")
                except PermissionError:
                    said.append("refused")
        return said

    assert as_person(bob, signal_all) == ["refused"] * 12
    assert daemon.job(trainer["id"])["pid"] == trainer["pid"]


def test_her_trainer_cannot_be_traced_by_another_nor_by_herself(
    trainer: dict[str, Any], alice: Person, bob: Person
) -> None:
    """Nor by her: its memory came from a process that has read what others sent."""
    for person in (bob, alice):
        found = as_person(person, lambda: attempts_to_trace(trainer["pid"]))
        assert set(found.values()) == {"PermissionError"}, (person.name, found)

    def trace_own() -> dict[str, str]:
        with subprocess.Popen(["sleep", "60"], env={}) as own:
            found = attempts_to_trace(own.pid)
            own.kill()
        return found

    own = as_person(bob, trace_own)
    assert own["attach"] == own["environ"] == own["maps"] == "done", "the test itself could trace nothing"


def test_the_sockets_of_the_daemons_parts_are_closed_to_users(
    daemon: RunningDaemon, trainer: dict[str, Any], alice: Person, bob: Person
) -> None:
    """Who could reach the launcher would fork with root's rights; who could reach the agent, end others' jobs."""
    paths = [daemon.paths.launcher_socket("tensorflow"), daemon.paths.agent_socket]

    def reach() -> list[str]:
        said = []
        for path, kind in zip(paths, (socket.SOCK_STREAM, socket.SOCK_DGRAM), strict=True):
            with socket.socket(socket.AF_UNIX, kind) as connection:
                try:
                    connection.connect(str(path))
                    said.append("done")
                except OSError as error:
                    said.append(type(error).__name__)
        return said

    assert reach() == ["done"] * 2, "the test itself could reach nothing"
    for person in (alice, bob):
        assert as_person(person, reach) == ["PermissionError"] * 2


# Paths that are exchanged


@contextmanager
def exchanging(person: Person, path: Path, other: Path) -> Iterator[None]:
    """`person` puts a link to `other` in the place of `path`, and back, as fast as they can."""
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(person.gid, person.gid, person.gid)
            os.setresuid(person.uid, person.uid, person.uid)
            kept, link = path.with_name("kept"), path.with_name("link")
            while True:
                link.symlink_to(other)
                path.rename(kept)
                link.rename(path)
                path.unlink()
                kept.rename(path)
        finally:
            os._exit(1)
    try:
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        kept = path.with_name("kept")
        if kept.exists():
            kept.rename(path)
        path.with_name("link").unlink(missing_ok=True)


def until_met(found: set[str], *words: str) -> Iterator[None]:
    """TRIES times, and on a busy machine more: until each of the words is in something that was found."""
    deadline, tries = time.monotonic() + 60, 0
    while tries < TRIES or not all(any(word in text for text in found) for word in words):
        assert time.monotonic() < deadline, f"{words} were not all met in {tries} tries: {found}"
        yield
        tries += 1


def ask_again_and_again(person: Person, daemon: RunningDaemon, target: str, *words: str) -> set[str]:
    """Everything that was answered."""

    def ask() -> list[str]:
        connection = UnixConnection(daemon.socket)
        answers: set[str] = set()
        for _ in until_met(answers, *words):
            try:
                connection.request("GET", target)
                answers.add(connection.getresponse().read().decode(errors="replace"))
            except http.client.IncompleteRead as broken:  # the link was met in the middle of an answer
                answers.add(broken.partial.decode(errors="replace"))
                connection = UnixConnection(daemon.socket)
        return list(answers)

    answers = as_person(person, ask)
    assert isinstance(answers, list), answers
    return set(answers)


@pytest.mark.parametrize("name", ["metrics.json", "log.txt"])
def test_a_result_exchanged_for_a_link_is_never_opened_with_roots_rights(
    daemon: RunningDaemon, completed: int, bob: Person, secret: Path, name: str
) -> None:
    """By the file's name, in the catalogue, and as the log of the job."""
    with exchanging(bob, daemon.paths.result(completed) / name, secret):
        answers = ask_again_and_again(
            bob, daemon, f"/v1/results/{completed}/{name}", "does not exist", "loss"
        )
        for target in ("/v1/results", f"/v1/jobs/{completed}/log"):
            answers |= ask_again_and_again(bob, daemon, target)
    assert not [text for text in answers if "of alice" in text]


def test_a_file_in_place_is_opened_with_its_users_rights(bob: Person, secret: Path) -> None:
    """By the very function of the trainer, as bob: a link to her file in the place of his own."""
    from gpujobs.trainer import files
    from tests.specs import attempt_spec, data_file

    own = bob.home / "in-place"
    own.write_text("his")
    os.chown(own, bob.uid, bob.gid)
    spec = attempt_spec(data={"d": data_file(own, "0" * 64)})

    def pin() -> list[str]:
        said: set[str] = set()
        for _ in until_met(said, "Permission denied", "its SHA-256 is"):
            try:
                files.pin(spec)
            except Exception as error:  # noqa: BLE001 - each is looked at
                said.add(str(error))
        return list(said)

    with exchanging(bob, own, secret):
        said = as_person(bob, pin)
    own.unlink()
    assert isinstance(said, list), said
    hers = hashlib.sha256(secret.read_bytes()).hexdigest()
    assert not [text for text in said if hers in text]


# Results that lead elsewhere


def spoil(daemon: RunningDaemon, bob: Person, job: int, change: Callable[[Path], None]) -> dict[str, Any]:
    """What becomes of a job of bob's whose results he has changed while it ran."""
    work = daemon.paths.job(job).work
    daemon.until_epoch(job, 1)
    assert as_person(bob, lambda: change(work)) is None
    ended: dict[str, Any] = eventually(
        lambda: (found := daemon.job(job))["state"] not in ("RUNNING", "COMPLETING") and found, 90
    )
    return ended


def test_nothing_is_written_over_anothers_files(
    daemon: RunningDaemon, alice: Person, bob: Person, hers: int
) -> None:
    """The results of his job are her home, where a model of hers lies."""
    target = alice.home / "her-results"
    target.mkdir()
    (target / "model.keras").write_text("hers")
    target.chmod(0o755)
    for path in (target, target / "model.keras"):
        os.chown(path, alice.uid, alice.gid)

    def change(work: Path) -> None:
        (work / "results").rename(work / "moved")
        (work / "results").symlink_to(target)

    job = submit_as(bob, daemon, "over-hers", "--retries", 0, epochs=1000)
    ended = spoil(daemon, bob, job, change)
    assert ended["state"] == "FAILED" and ended["results"] is None
    assert [path.name for path in target.iterdir()] == ["model.keras"]
    assert (target / "model.keras").read_text() == "hers"
    shutil.rmtree(target)


def test_nothing_of_roots_is_collected_as_a_result(daemon: RunningDaemon, bob: Person) -> None:
    def change(work: Path) -> None:
        (work / "results/token").symlink_to(daemon.paths.ray_token)

    job = submit_as(bob, daemon, "roots-file", epochs=1000)
    ended = spoil(daemon, bob, job, change)
    assert (ended["state"], ended["reason"], ended["results"]) == ("FAILED", "ResultsFailed", None)
    assert "token cannot be collected" in ended["message"]
    assert not daemon.paths.result(job).exists()
    assert not list(daemon.paths.results.glob(".staging*"))


def test_results_above_the_quota_fill_no_disk(daemon: RunningDaemon, bob: Person) -> None:
    """A sparse file costs him nothing; copied, it would cost a TiB."""

    def change(work: Path) -> None:
        with (work / "results/sparse").open("wb") as file:
            file.truncate(1 << 40)

    job = submit_as(bob, daemon, "sparse", epochs=1000)
    ended = spoil(daemon, bob, job, change)
    assert (ended["state"], ended["reason"]) == ("FAILED", "ResultsFailed")
    assert "larger than 1048576 bytes" in ended["message"]


def test_a_log_among_the_results_does_not_keep_a_job_from_its_end(daemon: RunningDaemon, bob: Person) -> None:
    job = submit_as(bob, daemon, "log", epochs=1000)
    ended = spoil(daemon, bob, job, lambda work: (work / "results/log.txt").touch())
    assert (ended["state"], ended["reason"]) == ("FAILED", "ResultsFailed")


def test_the_directory_of_a_job_is_closed_at_its_end(daemon: RunningDaemon, bob: Person) -> None:
    job = submit_as(bob, daemon, "closed", epochs=ENDLESS)
    daemon.until_epoch(job, 1)
    root = daemon.paths.job(job).root
    assert as_person(bob, lambda: os.access(root / "work", os.W_OK | os.X_OK)) is True
    assert cli_as(bob, daemon, "cancel", job).returncode == 0
    daemon.until(job, "CANCELLED")
    assert as_person(bob, lambda: os.access(root / "work", os.F_OK)) is False
    assert stat.S_IMODE(root.stat().st_mode) == 0o700


# What he sends


def test_data_above_the_quota_is_refused_in_words(daemon: RunningDaemon, bob: Person, completed: int) -> None:
    import numpy as np

    large = bob.home / "large.npz"
    np.savez(large, x=np.random.default_rng(0).random((600, 60, 8)), y=np.zeros(600))
    text = (bob.home / "his.yaml").read_text().replace("tutorial.npz", "large.npz")
    (bob.home / "large.yaml").write_text(text)
    for path in (large, bob.home / "large.yaml"):
        os.chown(path, bob.uid, bob.gid)
    refused = cli_as(bob, daemon, "submit", bob.home / "large.yaml")
    assert refused.returncode == 2, refused.stdout + refused.stderr
    assert "of each user ([quotas] data)" in refused.stderr and refused.stderr.count("\n") == 1
    left = list((daemon.paths.spool / "data" / str(bob.uid)).glob(".upload*"))
    assert left == []


HOSTILE_REQUESTS: list[tuple[str, str, object]] = [
    ("POST", "/v1/jobs", b"[" * 100_000),
    ("POST", "/v1/jobs", b"\xff\xfe{}"),
    ("POST", "/v1/jobs", b'{"request_key": "\\ud800", "files": [{"path": "a", "text": "a"}]}'),
    ("POST", "/v1/jobs", {"request_key": "k", "files": [{"path": "\ud800", "text": "name: a"}]}),
    ("POST", "/v1/jobs", {"request_key": "k", "files": [{"path": "a\0b", "text": "name: a"}]}),
    ("POST", "/v1/jobs", {"request_key": "k", "files": [{"path": "a", "directory": "b", "text": "name: a"}]}),
    (
        "POST",
        "/v1/jobs",
        {"request_key": "k", "files": [{"path": "a", "directory": "/a\0b", "text": "name: a"}]},
    ),
    ("POST", "/v1/jobs", {"request_key": "k" * 1000, "files": [{"path": "a", "text": "name: a"}]}),
    ("POST", "/v1/jobs", {"request_key": "k", "files": [{"path": "a", "text": "a: &a [*a]"}]}),
    ("POST", "/v1/jobs", {"request_key": "k", "files": [{"path": "a", "text": "{" * 5000}]}),
    ("POST", "/v1/jobs", {"request_key": "k", "files": []}),
    ("POST", "/v1/jobs/cancel", {"ids": [10**40]}),
    ("POST", "/v1/jobs/cancel", {"ids": [-(10**40), 0]}),
    ("POST", "/v1/jobs/cancel", {"ids": [1.5]}),
    ("POST", "/v1/jobs/prioritize", {"ids": [1], "priority": 10**40}),
    ("POST", "/v1/jobs/prioritize", {"ids": [1]}),
    ("POST", "/v1/stop", b"null"),
    ("GET", "/v1/jobs/99999999999999999999999", None),
    ("GET", "/v1/jobs/999999999999999999", None),
    ("GET", "/v1/jobs?ids=" + "9" * 30, None),
    ("GET", "/v1/jobs?ids=x", None),
    ("GET", "/v1/jobs?limit=" + "9" * 5000, None),
    ("GET", "/v1/jobs?state=%00", None),
    ("GET", "/v1/watch?ids=999999999", None),
    ("GET", "/v1/results/1/%00", None),
    ("GET", "/v1/results/1/" + "a/" * 2000, None),
    ("GET", "/v1/results/" + "9" * 5000 + "/a", None),
    ("GET", "/v1/jobs/1/log?tail=" + "9" * 5000, None),
    ("PUT", "/v1/data/" + "0" * 64, b"other bytes"),
    ("PUT", "/v1/data/..%2f..%2fgpujobs.db", b""),
    ("DELETE", "/v1/jobs/1", None),
]


@pytest.mark.parametrize(("method", "path", "body"), HOSTILE_REQUESTS, ids=range(len(HOSTILE_REQUESTS)))
def test_a_request_that_makes_no_sense_is_refused_and_queues_nothing(
    daemon: RunningDaemon, bob: Person, completed: int, method: str, path: str, body: object
) -> None:
    before = known_jobs(daemon)
    status, text = request_as(bob, daemon, method, path, body)
    assert 400 <= status < 500, (status, text[:500])
    assert known_jobs(daemon) == before
    assert "Traceback" not in daemon.log.read_text()


def test_more_bytes_than_announced_are_not_kept(daemon: RunningDaemon, bob: Person, completed: int) -> None:
    """Compressed, a MiB is a kilobyte: neither the quota nor the length may be got round by that."""
    content = b"\0" * (8 << 20)
    sha256 = hashlib.sha256(content).hexdigest()
    packed = gzip.compress(content)
    status, text = request_as(
        bob, daemon, "PUT", f"/v1/data/{sha256}", packed, **{"Content-Encoding": "gzip"}
    )
    assert status == 400 and "larger than its Content-Length" in text
    assert not daemon.paths.data(bob.uid, sha256).exists()


def test_a_body_too_large_is_refused_in_words(daemon: RunningDaemon, bob: Person) -> None:
    """bob hears why though he has not sent all of it."""
    path = bob.home / "huge.yaml"
    path.write_text("#" * (1 << 20))
    os.chown(path, bob.uid, bob.gid)
    refused = cli_as(bob, daemon, "submit", *[path] * 20)
    assert refused.returncode == 2, refused.stderr
    assert "larger than 16 MiB" in refused.stderr


def test_a_large_job_file_does_not_keep_the_others_waiting(
    daemon: RunningDaemon, alice: Person, bob: Person, completed: int
) -> None:
    """A MiB of YAML takes seconds to read. alice is answered before bob is."""
    body = body_for(daemon, bob)
    (file,) = body["files"]
    file["text"] += "sweep:\n  grid:\n    training.seed: [" + ", ".join(map(str, range(120_000))) + "]\n"
    started, told = time.monotonic(), bob.home / "told"
    child = os.fork()
    if child == 0:
        try:
            status, _ = request_as(bob, daemon, "POST", "/v1/check", body)
            told.write_text(str(status))
        finally:
            os._exit(0)
    answered = 0
    while not told.exists() and time.monotonic() < started + 120:
        answers_alice(daemon, alice)
        answered += 1
    os.waitpid(child, 0)
    assert told.read_text() == "400"
    told.unlink()
    assert answered >= 3, "alice was answered only after bob"


def test_files_that_unfold_into_millions_are_refused_early(
    daemon: RunningDaemon, alice: Person, bob: Person, completed: int
) -> None:
    """Each makes 10,000 jobs in a few lines."""
    before = known_jobs(daemon)
    body = body_for(daemon, bob, request_key="unfolds")
    (file,) = body["files"]
    hundred = ", ".join(map(str, range(1, 101)))
    file["text"] += f"sweep:\n  grid:\n    training.seed: [{hundred}]\n    training.epochs: [{hundred}]\n"
    files = [{**file, "path": f"{number}.yaml"} for number in range(1000)]
    status, text = request_as(bob, daemon, "POST", "/v1/jobs", {**body, "files": files})
    assert status == 400 and "these files make more than 10,000 jobs" in text
    answers_alice(daemon, alice)
    assert known_jobs(daemon) == before


# Connections that he keeps


@contextmanager
def connections_of(person: Person, daemon: RunningDaemon, count: int, first: bytes = b"") -> Iterator[int]:
    """As many connections as the daemon lets them keep, of `count` that are opened; each sends `first`."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(person.gid, person.gid, person.gid)
            os.setresuid(person.uid, person.uid, person.uid)
            opened = []
            for _ in range(count):
                connection = socket.socket(socket.AF_UNIX)
                connection.connect(str(daemon.socket))
                connection.setblocking(False)
                opened.append(connection)
            time.sleep(1)  # for those that are refused to hear it
            os.write(writer, str(sum(map(is_kept, opened))).encode())
            for connection in opened:
                if first and is_kept(connection):
                    connection.send(first)
            os.write(writer, b"\n")
            signal.pause()
        finally:
            os._exit(1)
    os.close(writer)
    try:
        with os.fdopen(reader) as answer:
            yield int(answer.readline())
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def is_kept(connection: socket.socket) -> bool:
    try:
        connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def test_a_thousand_idle_connections_starve_nobody(daemon: RunningDaemon, alice: Person, bob: Person) -> None:
    with connections_of(bob, daemon, CONNECTIONS) as kept:
        assert kept == PER_USER
        for _ in range(5):
            answers_alice(daemon, alice)
        refused = cli_as(bob, daemon, "status")
        assert refused.returncode == 5, refused.stdout + refused.stderr
        assert f"{bob.name} has {PER_USER} connections open, as many as one user may" in refused.stderr
    eventually(lambda: cli_as(bob, daemon, "status").returncode == 0, 10)


@pytest.mark.parametrize(
    "first",
    [
        b"GET /v1/info HTTP/1.1\r\nX-Slow: ",
        b"POST /v1/jobs HTTP/1.1\r\nContent-Length: 1000\r\n\r\n{",
        b"PUT /v1/data/" + b"1" * 64 + b" HTTP/1.1\r\nContent-Length: 1000\r\n\r\nx",
        b"GET /v1/watch HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=["headers", "body", "upload", "watch"],
)
def test_requests_that_never_end_starve_nobody(
    daemon: RunningDaemon, alice: Person, bob: Person, completed: int, first: bytes
) -> None:
    with connections_of(bob, daemon, PER_USER, first) as kept:
        assert kept == PER_USER
        for _ in range(5):
            answers_alice(daemon, alice)
        job = submit_as(alice, daemon, "meanwhile", "--hold")
        assert cli_as(alice, daemon, "cancel", job).returncode == 0
    eventually(lambda: cli_as(bob, daemon, "status").returncode == 0, 10)
    assert "Traceback" not in daemon.log.read_text()


# Jobs that he queues

FLOODS = (20_000, pytest.param(100_000, marks=pytest.mark.slow))
"""Its making takes longer than all that is looked at."""


@pytest.fixture(scope="module", params=FLOODS)
def flooded(request: pytest.FixtureRequest, alice: Person, bob: Person) -> Iterator[RunningDaemon]:
    """A daemon that finds so many jobs of bob's in its store; he has submitted them by the thousand."""
    root = short_directory()
    (root / "s").mkdir()
    text = write_job(root, "flood", epochs=ENDLESS).read_text()
    (job,) = expand("flood.yaml", text)
    store = Store(root / "s/gpujobs.db")
    caller = Caller(uid=bob.uid, gid=bob.gid, pid=1, user=bob.name)
    data = (DataReference("tutorial.npz", "0" * 64, 1, "/nowhere/tutorial.npz"),)
    new = NewJob("flood", "flood.yaml", text, job.resolved, job.demand, False, 0, None, data)
    for batch in range(request.param // 10_000):
        store.submit(caller, f"flood {batch}", [new] * 10_000)
    store.close()
    daemon = RunningDaemon(root, site=True, slots=1)
    root.chmod(0o711)
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.kill9()  # so many jobs are not worth being cancelled
        daemon.stop()
        shutil.rmtree(root)


def test_tens_of_thousands_of_jobs_starve_nobody(flooded: RunningDaemon, alice: Person, bob: Person) -> None:
    """The daemon takes hers, answers her, and starts it before his: she has used nothing yet."""
    job = submit_as(alice, flooded, "hers")
    assert flooded.get("/v1/info")["jobs"]["PENDING"] >= 20_000 - 10
    answers_alice(flooded, alice)
    done = cli_as(alice, flooded, "status", job, "--json")
    assert json.loads(done.stdout)[0]["name"] == "hers"
    ended = flooded.until(job, "COMPLETED", seconds=200)
    assert ended["user"] == alice.name


def test_a_check_reads_with_the_rights_of_who_asks(daemon: RunningDaemon, alice: Person, bob: Person) -> None:
    """It looks at files where they lie: at alice's for alice, and not for bob."""
    secret = alice.home / "secret.npz"
    secret.write_bytes((ROOT / "jobs/data/tutorial.npz").read_bytes())
    os.chown(secret, alice.uid, alice.gid)
    secret.chmod(0o600)
    entry = {"sha256": None, "bytes": secret.stat().st_size, "in_place": str(secret)}
    text = write_job(daemon.root, "look").read_text()
    body = {"files": [{"path": "look.yaml", "text": text, "data": {"tutorial.npz": entry}}]}
    status, said = request_as(bob, daemon, "POST", "/v1/check", body)
    assert status == 400 and "tutorial.npz: cannot be read: Permission denied" in said
    status, said = request_as(alice, daemon, "POST", "/v1/check", body)
    assert status == 200 and json.loads(said)["files"][0]["report"]["steps_per_epoch"] == 1
