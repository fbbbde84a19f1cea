"""Handing a submission over so that nothing is queued twice, and its numbers are known, whatever is interrupted.

A submission has a request key, and the daemon answers a repeated key with the jobs that it has made. The key is
kept on the user's disk from before it is sent until the answer has come. So a daemon that died after its commit
is asked again with the same key; and the same command, after one that was interrupted, takes the same key up.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from gpujobs.client.api import Client
from gpujobs.client.submission import Submission
from gpujobs.config.settings import personal_state
from gpujobs.errors import DaemonUnreachableError, Interrupted

SAME_COMMAND_SECONDS = 60.0
"""Of a command whose user was told what it had queued: after that, the same one is meant to queue more."""

UNKNOWN_SECONDS = 600.0
"""Of a command of which nobody knows what it has queued."""

RECONNECT_SECONDS = 15.0
"""A daemon that has died is started again by systemd within seconds."""

RETRY_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Request:
    """What is kept of a request: its key, when it was last heard of (seconds since 1970), whether its user knows
    what came of it, and size and time of change of its data files, which may change before it is repeated."""

    key: str
    at: float
    ticks: int
    """When the process began that has made it (the pid is in the name of the file): as long as that lives the request
    is its own, and the same command beside it means more."""

    is_told: bool = False
    data: tuple[tuple[str, int, int], ...] = ()

    @property
    def is_fresh(self) -> bool:
        age = time.time() - self.at
        return 0 <= age < (SAME_COMMAND_SECONDS if self.is_told else UNKNOWN_SECONDS)


def deliver(
    client: Client,
    submission: Submission,
    body: Mapping[str, Any],
    command: Sequence[str],
    say: Callable[[str], None],
) -> list[dict[str, Any]]:
    """The jobs that these files have become. `command` is what the user has typed: the same one takes up what was
    interrupted. `say` is told what is not as usual. Raises Interrupted."""
    path = _place(client.socket, submission, command)
    earlier = _take_up(path)
    now = Request(os.urandom(16).hex(), time.time(), _ticks(os.getpid()))
    request = replace(earlier, ticks=now.ticks) if earlier else now
    _keep(path, request)
    try:
        jobs = _send(client, submission, {**body, "request_key": request.key}, say)
    except KeyboardInterrupt:
        raise Interrupted(_withdraw(client, submission, request, path)) from None
    except DaemonUnreachableError:
        _keep(path, replace(request, at=time.time(), data=submission.data_stamps()))
        raise
    except BaseException:
        _drop(path)
        raise
    _drop(path)
    if earlier is not None and any(job.get("submitted_at", "") < _iso(earlier.at) for job in jobs):
        say("these were queued by the same command, which was interrupted; nothing was queued again")
    return jobs


def _send(
    client: Client, submission: Submission, body: Mapping[str, Any], say: Callable[[str], None]
) -> list[dict[str, Any]]:
    deadline: float | None = None
    while True:
        try:
            answer = submission.send(client, "/v1/jobs", body)
            for notice in answer.get("notices", ()):
                say(notice)
            jobs: list[dict[str, Any]] = answer["jobs"]
            return jobs
        except DaemonUnreachableError as error:
            client.close()  # what comes next makes a new connection
            if deadline is None:
                deadline = time.monotonic() + RECONNECT_SECONDS
                say(f"the daemon has closed the connection; it is asked again for {RECONNECT_SECONDS:.0f} s")
            if time.monotonic() > deadline:
                raise DaemonUnreachableError(
                    f"no daemon answers at {client.socket} any more, and whether the jobs were queued is not known; "
                    f"the same command takes up the same request within {UNKNOWN_SECONDS / 60:.0f} minutes, so that "
                    "nothing is queued twice"
                ) from error
        time.sleep(RETRY_SECONDS)


def _withdraw(
    client: Client, submission: Submission, request: Request, path: Path
) -> list[dict[str, Any]] | None:
    """What was queued; if nothing was, it never will be. A second Ctrl-C leaves it open."""
    known = replace(request, at=time.time(), data=submission.data_stamps())
    try:
        client.close()
        jobs: list[dict[str, Any]] = client.post("/v1/requests/withdraw", {"request_key": request.key})[
            "jobs"
        ]
    except (DaemonUnreachableError, KeyboardInterrupt):
        _keep(path, known)
        return None
    if jobs:
        _keep(path, replace(known, is_told=True))
    else:
        _drop(path)
    return jobs


# What is kept


def _place(socket: Path, submission: Submission, command: Sequence[str]) -> Path:
    texts = [(file["path"], file["text"]) for file in submission.files]
    same = json.dumps([str(socket), str(Path.cwd()), list(command), texts])
    import hashlib

    name = f"{hashlib.sha256(same.encode()).hexdigest()[:32]}.{os.getpid()}.json"
    return personal_state() / "requests" / name


def _take_up(own: Path) -> Request | None:
    """A request that the same command has left behind. Of several that look at once, one gets it."""
    for path in own.parent.glob(f"{own.name.partition('.')[0]}.*.json"):
        request = _read(path)
        if request is None or (path != own and _ticks(_pid_of(path)) == request.ticks):
            continue
        with contextlib.suppress(OSError):
            path.rename(own)
            return request
    return None


def _pid_of(path: Path) -> int:
    text = path.name.split(".")[1]
    return int(text) if text.isdecimal() else 0


def _ticks(pid: int) -> int:
    """When a process began, in clock ticks since the machine's start; -1 where there is none."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[19])
    except (OSError, IndexError, ValueError):
        return -1


def _read(path: Path) -> Request | None:
    try:
        values = json.loads(path.read_text())
        data = tuple((str(name), int(size), int(at)) for name, size, at in values.pop("data"))
        request = Request(**values, data=data)
        is_same = request.is_fresh and all(stamp(name) == (name, size, at) for name, size, at in data)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return request if is_same else None


def _keep(path: Path, request: Request) -> None:
    """A home directory that cannot be written must not keep anybody from submitting."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(asdict(request)))
        temporary.replace(path)
        _tidy(path.parent)


def _drop(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def _tidy(directory: Path) -> None:
    """Of commands that were never repeated."""
    for path in directory.iterdir():
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > UNKNOWN_SECONDS:
                path.unlink()


def stamp(name: str) -> tuple[str, int, int] | None:
    try:
        status = Path(name).stat()
    except OSError:
        return None
    return name, status.st_size, status.st_mtime_ns


def _iso(seconds: float) -> str:
    from datetime import UTC, datetime

    from gpujobs.model import iso

    return iso(datetime.fromtimestamp(seconds, UTC)) or ""
