"""A server that answers by docs/protocol.md from tables, for states that a daemon is in for moments only.

Its jobs, groups and events are written by the daemon's own functions, with some values changed, and what it is sent is
read by the daemon's own types. `tests/integration/test_stand_in.py` holds its answers against those of a daemon."""

from __future__ import annotations

import hashlib
import json
import os
import socketserver
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from pydantic import BaseModel, ValidationError

from gpujobs.daemon.api_json import event_json, group_json, job_json, occupancy_json
from gpujobs.daemon.handlers import CHANGES
from gpujobs.daemon.handlers.reservations import reservation_json
from gpujobs.daemon.jobs.submissions import SubmissionBody
from gpujobs.demand import Demand
from gpujobs.model import Caller, Device, DeviceKind, DeviceState, Event, Group, Process, State
from gpujobs.policy import Occupancy, Reservation
from tests.command import CLI, RUN
from tests.unit.records import JOB

ROOT = Path(__file__).parents[3]
OF_PYTHON = ("PYTHON", "LANG", "LC_")
"""Variables that it reads when it starts."""


BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
WAITING = replace(
    JOB, user="alice", state=State.PENDING, submitted_at=BEGIN, started_at=None, attempt=0, demand=Demand()
)


def job(id: int, **changes: Any) -> dict[str, Any]:
    """One that waits, as the daemon tells it, but for these values."""
    one = replace(WAITING, id=id, name=f"job-{id}")
    return changed(job_json(one, None, None, None, shows_sweep=True), changes)


def changed(told: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    assert changes.keys() <= told.keys(), f"the daemon does not tell {changes.keys() - told.keys()}"
    return {**told, **changes}


def member(id: int, group: int, name: str, sweep: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A job of a sweep."""
    first = {"name": f"{name}-{id - group + 1}", "group": name, "group_id": group, "sweep": sweep}
    return job(id, **{**first, **changes})


def group_of(jobs: list[dict[str, Any]]) -> dict[str, Any]:
    """The members of a group, counted; the state is that of the first."""
    counts = Counter(State(j["state"]) for j in jobs)
    first = jobs[0]
    group = Group(first["group_id"], first["group"], 1000, first["user"], counts, BEGIN, None, None)
    times = {key: first[key] for key in ("state", "submitted_at", "started_at", "ended_at")}
    return changed(group_json(group, 0.5, None), times)


REPORT = {
    "layers": [
        {
            "name": "first", "class": "LSTM", "output_shape": [None, None, 4], "parameters": 96,
            "formula": "4 × 4 × (1 + 4 + 1) = 96",
        },
        {"name": "masked\x1b[2J", "class": "Dropout", "output_shape": [None, 4], "parameters": 0, "formula": None},
    ],
    "parameters": 96, "trainable_parameters": 90, "memory_estimate_bytes": 4096,
    "memory": [{"part": "weights", "bytes": 4096, "of": "the parameters, 4 bytes each"}],
    "cudnn": [
        {"layer": "first", "class": "LSTM", "eligible": False, "why": "unroll is true", "cost": "steps are slow"}
    ],
    "data": {
        "file": "d.npz", "task": "regression", "samples": {"train": 6}, "sample_shapes": {"x": [6, 1]},
        "arrays": [
            {"array": "x", "shape": [6, 6, 1], "dtype": "float32", "nan": 2, "infinite": 0, "looked_at": "all"}
        ],
        "classes": [], "left_out": 1,
    },
    "batch_size": 4, "steps_per_epoch": 2, "epochs": 3, "notices": ["a notice of the data"],
}  # fmt: skip
"""As docs/check.md has it."""


class Protocol(socketserver.ThreadingUnixStreamServer):
    """Jobs, stored data and results in memory; `needs` are the data paths of every job file."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, path: str) -> None:
        super().__init__(path, Handler)
        self.jobs: dict[int, dict[str, Any]] = {}
        self.needs: list[str] = []
        self.stored: set[str] = set()
        self.requests: list[tuple[str, str, Any]] = []
        self.files: dict[str, bytes] = {}
        self.histories: dict[int, str | None] = {}
        """history.csv by job; a job with None has no results."""
        self.metrics: dict[str, Any] = {"loss": 0.5}
        self.directory = "/r/1"
        self.ranking: dict[str, Any] = {}
        self.membership: dict[str, Any] = {}
        """Of the next submitted jobs in a group."""
        self.notes: dict[str, str] = {}
        self.notices: list[str] = []
        self.changes: list[dict[str, Any]] = []
        """What those who watch hear of each job, instead of what it is."""
        self.later: list[dict[str, Any]] = []
        """What they hear from the second time on, where it is something else."""
        self.holds: list[dict[str, Any]] = []
        """Reservations, of the GPU too."""
        self.truncate = False
        self.instead: tuple[int, bytes] | None = None
        """What another program, or version, answers to everything."""
        self.refusals: dict[tuple[str, str], tuple[int, Any]] = {}
        """What is answered to some requests instead."""
        self.spec: dict[str, Any] = {"a": {"b": 1}}
        self.said_of_data: list[str] | None = None
        """The notices of a check."""
        self.outcome: dict[str, Any] = {}
        """What the next submitted jobs are at once."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Protocol

    def address_string(self) -> str:
        return "unix"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def answer(self, status: int, body: Any) -> None:
        status, body = self.server.instead or (status, body)
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if self.server.truncate else data)
        if self.server.truncate:
            self.close_connection = True

    def jobs(self, ids: list[int | str]) -> list[dict[str, Any]] | None:
        """Of ids, and of groups by id or name."""
        found: dict[int, dict[str, Any]] = {}
        for id in ids:
            known = self.server.jobs.values()
            chosen = [j for j in known if id in (j["id"], f"g{j['group_id']}", j["group"])]
            if not chosen:
                kind = "job" if isinstance(id, int) else "group"
                self.answer(404, {"code": "usage", "message": f"{kind} {id} does not exist"})
                return None
            found |= {j["id"]: j for j in chosen}
        return list(found.values())

    def queue(self, jobs: list[dict[str, Any]], query: dict[str, str]) -> None:
        rows: list[dict[str, Any]] = []
        groups: dict[int, list[dict[str, Any]]] = {}
        for j in sorted(jobs, key=lambda j: j["state"] == "PENDING"):
            if j["group_id"] is None:
                rows.append({"job": j})
            else:
                groups.setdefault(j["group_id"], []).append(j)
        for members in groups.values():
            unfolded = members if "unfold" in query or "ids" in query else []
            rows += [{"group": group_of(members)}, *({"job": j} for j in unfolded)]
        answer = {"rows": rows[: int(query.get("limit", len(rows)))], "total": len(rows)}
        self.answer(200, json.dumps(answer).encode() + b"\n")

    def files(self, id: int) -> dict[str, bytes]:
        history = self.server.histories.get(id)
        return self.server.files | ({} if history is None else {"history.csv": history.encode()})

    def results(self, jobs: list[dict[str, Any]], ids: list[int | str]) -> None:
        """As the daemon: of a group only the jobs that have any, of a job that was named an error."""
        lacking = [j["id"] for j in jobs if self.server.histories.get(j["id"], "") is None]
        if named := [id for id in lacking if id in ids]:
            state = self.server.jobs[int(named[0])]["state"]
            said = f"job {named[0]} is {state} and has no results; `gpujobs wait {named[0]}` waits for them"
            self.answer(400, {"code": "usage", "message": said})
            return
        keys = {"directory": self.server.directory, "metrics": self.server.metrics}
        rows = [
            {
                "job": j["id"],
                **{k: j[k] for k in ("name", "user", "ended_at")},
                **keys,
                "files": [{"name": n, "bytes": len(c)} for n, c in self.files(j["id"]).items()],
            }
            for j in jobs
            if j["id"] not in lacking
        ]
        self.answer(200, {"results": rows})

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        sha256 = self.path.rpartition("/")[2]
        assert hashlib.sha256(body).hexdigest() == sha256
        self.server.requests.append(("PUT", self.path, len(body)))
        self.server.stored.add(sha256)
        self.answer(201, {})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append(("POST", self.path, body))
        if refusal := self.server.refusals.get(("POST", self.path)):
            self.answer(*refusal)
            return
        try:
            BODIES[self.path].model_validate(body)
        except ValidationError as error:
            self.answer(400, {"code": "usage", "message": str(error)})
            return
        if self.path in ("/v1/jobs", "/v1/check"):
            self.submit(body)
        elif (jobs := self.jobs(body["ids"])) is not None:
            self.answer(200, {"jobs": jobs, "notes": self.server.notes})

    def submit(self, body: dict[str, Any]) -> None:
        needs = {
            file["path"]: missing
            for file in body["files"]
            if (missing := [path for path in self.server.needs if path not in file["data"]])
        }
        hashes = {entry["sha256"] for file in body["files"] for entry in file["data"].values()} - {None}
        broken = [file["path"] for file in body["files"] if "broken" in file["text"]]
        if broken:
            problems = [{"file": path, "line": 3, "message": "unknown key epoch"} for path in broken]
            self.answer(400, {"code": "invalid_job_file", "message": "", "problems": problems})
        elif needs:
            self.answer(200, {"needs": needs})
        elif hashes - self.server.stored:
            self.answer(200, {"missing": sorted(hashes - self.server.stored)})
        elif self.path == "/v1/check":
            said = self.server.said_of_data
            report = REPORT if said is None else {**REPORT, "notices": said}
            entry = {"name": "a", "sweep": None, "report": report}
            files = [{"path": f["path"], **entry} for f in body["files"]]
            self.answer(200, {"files": files, "left_out": 0})
        else:
            start = len(self.server.jobs) + 1
            jobs = [
                job(start + n, name=Path(f["path"]).stem, **self.server.membership)
                for n, f in enumerate(body["files"])
            ]
            self.server.jobs.update({j["id"]: {**j, **self.server.outcome} for j in jobs})
            self.answer(201, {"jobs": jobs, "notices": self.server.notices})

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        parts = [unquote(id) for id in query.get("ids", "").split(",") if id]
        ids = [int(id) if id.isdigit() else id for id in parts]
        self.server.requests.append(("GET", url.path, query))
        if refusal := self.server.refusals.get(("GET", url.path)):
            self.answer(*refusal)
            return
        if url.path in (
            "/v1/jobs",
            "/v1/queue",
            "/v1/queue/watch",
            "/v1/watch",
            "/v1/results",
            "/v1/ranking",
        ):
            jobs = self.jobs(ids)
            if jobs is None:
                return
            if url.path.startswith("/v1/queue"):
                self.queue(jobs if ids else list(self.server.jobs.values()), query)
            elif url.path == "/v1/ranking":
                self.answer(200, {**self.server.ranking, "group": group_of(jobs)})
            elif url.path == "/v1/jobs":
                chosen = jobs if ids else list(self.server.jobs.values())
                limit = int(query.get("limit", len(chosen)))
                self.answer(200, {"jobs": chosen[:limit], "total": len(chosen)})
            elif url.path == "/v1/watch":
                changes, self.server.changes = self.server.changes, self.server.later or self.server.changes
                told = [{**j, **change} for change in changes or [{}] for j in jobs]
                self.answer(200, b"".join(json.dumps({"job": j}).encode() + b"\n" for j in told))
            else:
                self.results(jobs if ids else [*self.server.jobs.values()], ids)
        elif url.path.endswith("/log"):
            self.answer(200, b"line one\nline two\n")
        elif url.path.startswith("/v1/results/"):
            _, _, _, id, name = url.path.split("/", 4)
            self.answer(200, self.files(int(id))[name])
        elif url.path == "/v1/reservations":
            self.answer(200, {"reservations": self.server.holds})
        elif url.path == "/v1/gpus":
            reserved = {**GPU, "reserved": self.server.holds}
            self.answer(
                200, {"devices": [reserved], "nodes": [{"name": "box", "status": "ok", "message": ""}]}
            )
        elif (jobs := self.jobs([int(url.path.rpartition("/")[2])])) is not None:
            self.answer(200, {"job": jobs[0], "spec": self.server.spec, "attempts": [], "events": [EVENT]})


BODIES: dict[str, type[BaseModel]] = {
    "/v1/jobs": SubmissionBody,
    "/v1/check": SubmissionBody,
    **{f"/v1/jobs/{verb.ACTION.verb}": verb.ACTION.body for verb in CHANGES},
}
EVENT = event_json(Event(1, BEGIN, "submitted", "alice", to_state=State.PENDING))
ALICE = Caller(uid=1000, gid=1000, pid=1, user="alice")
DEVICE = Device(
    "box", DeviceKind.GPU, 0, "GPU-1", "A very long name of a GPU that no table of eighty columns can hold",
    memory_total_bytes=80 << 30, memory_used_bytes=3 << 30, utilization_percent=97,
)  # fmt: skip
STRANGER = Process(77, "bob", 2 << 30, "python " + "x" * 200)
GPU = occupancy_json(Occupancy(DEVICE, DeviceState.FOREIGN, (), (STRANGER,)), ALICE)
AFTERNOON = datetime(2026, 11, 26, 15, 30, tzinfo=UTC)
HOLD = reservation_json(
    Reservation(1, "GPU-1", AFTERNOON, AFTERNOON + timedelta(days=1), user="bob"), DEVICE, ALICE
)


@contextmanager
def answering(path: Path) -> Iterator[Protocol]:
    with Protocol(str(path)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Protocol]:
    with answering(tmp_path / "gpujobs.sock") as server:
        yield server


class Cli:
    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def __call__(self, *args: object, **environ: str) -> subprocess.CompletedProcess[str]:
        """Forked off a process that has imported the commands, unless Python itself is to be told something."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("GPUJOBS", "XDG_"))}
        given = {"PYTHONPATH": str(ROOT), "HOME": str(self.directory), "COLUMNS": "80", **environ}
        given.setdefault("GPUJOBS_STATE_DIR", str(self.directory))
        if not any(name.startswith(OF_PYTHON) for name in environ):
            return CLI.run(RUN, *args, cwd=self.directory, environment={**clean, **given}, timeout=60)
        return subprocess.run(
            [sys.executable, "-m", "gpujobs", *map(str, args)],
            env={**clean, **given},
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)
