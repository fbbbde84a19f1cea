"""Other UNIX users. The Python installation may be unreadable for them, so what they do is done in forked
children of the test that take their identity: the kernel sees that user, and no path of ours is needed."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import pwd
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from gpujobs.client.connection import UnixConnection
from tests.command import IMPORTED

from .harness import RunningDaemon, write_job


@dataclass(frozen=True)
class Person:
    name: str
    uid: int
    gid: int
    home: Path


@contextlib.contextmanager
def new_person(name: str, home: Path) -> Iterator[Person]:
    """A user of this machine, removed at the end."""
    subprocess.run(
        ["useradd", "--create-home", "--home-dir", str(home), "--user-group", name],
        check=True,
        capture_output=True,
    )
    try:
        entry = pwd.getpwnam(name)
        home.chmod(0o700)
        yield Person(name, entry.pw_uid, entry.pw_gid, home)
    finally:
        subprocess.run(["userdel", "--remove", name], check=False, capture_output=True)


def as_person(person: Person, function: Callable[[], Any]) -> Any:
    """What `function` returns (as JSON), run with the person's identity. An exception that it raises comes
    back as `{"error": its type's name, "message": ...}`."""
    reader, writer = os.pipe()
    groups = os.getgrouplist(person.name, person.gid)
    child = os.fork()
    if child == 0:
        _be(person, groups, function, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return json.loads(text)


def _be(person: Person, groups: Sequence[int], function: Callable[[], Any], writer: int) -> None:
    try:
        os.setgroups(groups)
        os.setresgid(person.gid, person.gid, person.gid)
        os.setresuid(person.uid, person.uid, person.uid)
        os.chdir("/")
        os.environ["HOME"] = str(person.home)
        try:
            answer = function()
        except Exception as error:  # noqa: BLE001 - the test looks at it
            answer = {"error": type(error).__name__, "message": str(error)}
        os.write(writer, json.dumps(answer).encode())
    finally:
        os._exit(0)


def cli_as(person: Person, daemon: RunningDaemon, *arguments: object) -> subprocess.CompletedProcess[str]:
    """The real command line in a forked child, with the person's identity and their home."""
    for name in IMPORTED:  # what it imports when it needs it is too late there
        import_module(name)
    output, errors = (os.memfd_create(name) for name in ("output", "errors"))
    try:
        code = as_person(person, lambda: _main(daemon, list(map(str, arguments)), output, errors))
        texts = [os.pread(descriptor, 1 << 24, 0).decode() for descriptor in (output, errors)]
    finally:
        os.close(output)
        os.close(errors)
    return subprocess.CompletedProcess([person.name, *map(str, arguments)], code, *texts)


def _main(daemon: RunningDaemon, arguments: list[str], output: int, errors: int) -> int:
    from gpujobs.cli.main import main

    os.environ["GPUJOBS_SOCKET"] = str(daemon.socket)
    os.environ.pop("GPUJOBS_STATE_DIR", None)
    sys.argv = ["gpujobs", *arguments]
    sys.stdout = os.fdopen(os.dup(output), "w")
    sys.stderr = os.fdopen(os.dup(errors), "w")
    try:
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def can_read(path: Path) -> bool:
    """Whether this process can open the file, or list the directory."""
    try:
        if path.is_dir():
            list(path.iterdir())
        else:
            path.read_bytes()
    except OSError:
        return False
    return True


def submit_as(person: Person, daemon: RunningDaemon, name: str, *options: object, **fields: Any) -> int:
    path = write_job(person.home, name, **fields)
    for file in person.home.iterdir():
        os.chown(file, person.uid, person.gid, follow_symlinks=False)
    done = cli_as(person, daemon, "submit", path, *options, "--json")
    assert done.returncode == 0, done.stderr
    (job,) = json.loads(done.stdout)
    return int(job["id"])


def known_jobs(daemon: RunningDaemon) -> set[int]:
    return {job["id"] for job in daemon.get("/v1/jobs", all=1)["jobs"]}


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def request_as(
    person: Person, daemon: RunningDaemon, method: str, path: str, body: Any = None, **headers: str
) -> tuple[int, str]:
    """A request by hand, as it is. `body` is sent as JSON, or as it is where it is bytes."""

    def send() -> tuple[int, str]:
        connection = UnixConnection(daemon.socket)
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection.request(method, path, content, headers)
        answer: http.client.HTTPResponse = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")

    answer = as_person(person, send)
    assert isinstance(answer, list), answer
    return answer[0], answer[1]


def body_for(daemon: RunningDaemon, alice: Person, **more: Any) -> dict[str, Any]:
    """A submission that names the data that alice has uploaded, by its hash."""
    (data,) = (daemon.paths.spool / "data" / str(alice.uid)).iterdir()
    described = {"sha256": data.name, "bytes": data.stat().st_size, "in_place": None}
    path = write_job(daemon.root, "planted")
    file = {"path": str(path), "text": path.read_text(), "data": {"tutorial.npz": described}}
    return {"request_key": "by hand", "files": [file], "set": {}, "options": {}, **more}
