"""The tables by which tests of the command line answer, beside a real daemon that is asked the same of such jobs."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from gpujobs.client import Client, connect
from gpujobs.config.settings import Settings
from gpujobs.errors import GpujobsError
from gpujobs.model import Caller, State, utc_now
from gpujobs.paths import StatePaths
from gpujobs.store.store import Store
from tests.integration.served import while_served
from tests.unit.cli.conftest import Protocol, answering, job, member
from tests.unit.cli.rows import ended
from tests.unit.store.jobs import DEVICE, DONE, new_job

ME = Caller(uid=os.getuid(), gid=os.getgid(), pid=1, user="me")
METRICS = {"final": {"loss": 0.5}}
SWEEP = {"training.seed": 1}
ASKED = [
    "/v1/jobs", "/v1/jobs?ids=1", "/v1/jobs/1", "/v1/queue?ids=2", "/v1/queue?ids=g3", "/v1/results",
    "/v1/results?ids=1", "/v1/ranking?ids=g3", "/v1/reservations", "/v1/jobs/99", "/v1/jobs?ids=99,g99",
    "/v1/results?ids=2",
]  # fmt: skip


def real(paths: StatePaths) -> None:
    """One job has completed, one waits, two are a sweep."""
    results = paths.result(1)
    results.mkdir(parents=True)
    (results / "metrics.json").write_text(json.dumps(METRICS))
    (results / "log.txt").write_text("line one\nline two\n")
    grouped = replace(new_job("s"), group="s", sweep_values=SWEEP)
    store = Store(paths.database)
    store.submit(ME, "k", [new_job("job-1"), new_job("job-2")])
    store.submit(ME, "l", [replace(grouped, name="s-1"), replace(grouped, name="s-2")])
    store.start_attempt(1, DEVICE)
    store.mark_running(1, 1, 99, utc_now())
    store.mark_completing(1, 1, {"state": State.COMPLETED, "exit": {"code": 0, "signal": None}})
    store.finish(1, DONE, str(results))
    store.close()


def stand_in(server: Protocol) -> None:
    server.jobs = {
        1: job(1, **ended(), results="/r/1", attempt=1),
        2: job(2),
        3: member(3, 3, "s", SWEEP),
        4: member(4, 3, "s", SWEEP),
    }
    server.histories, server.metrics, server.spec = {2: None}, METRICS, {"name": "job-1"}
    server.files = {"metrics.json": json.dumps(METRICS).encode(), "log.txt": b"line one\nline two\n"}
    server.ranking = {"metric": None, "mode": None, "why": None, "best": None, "members": []}


def answers(client: Client) -> dict[str, Any]:
    return {path: answer(client, path) for path in ASKED}


def answer(client: Client, path: str) -> Any:
    place, _, query = path.partition("?")
    try:
        return client.get(place, **dict(one.split("=") for one in query.split("&") if one))
    except GpujobsError as error:
        return error.to_wire()


def unlike(told: Any, ours: Any, place: str = "") -> list[str]:
    """Where what the stand-in tells is no part of what the daemon does: a key that it has not, a value of another
    kind. A null says nothing of the kind, and of lists the first entries are looked at."""
    if told is None or ours is None:
        return []
    if isinstance(ours, dict) and isinstance(told, dict):
        more = [f"{place}.{key}" for key in ours.keys() - told.keys()]
        return more + [
            w for key in ours.keys() & told.keys() for w in unlike(told[key], ours[key], f"{place}.{key}")
        ]
    if isinstance(ours, list) and isinstance(told, list):
        return [
            wrong
            for one, other in zip(told, ours, strict=False)
            for wrong in unlike(one, other, f"{place}[]")
        ]
    kinds = [(int | float) if isinstance(one, int | float) else type(one) for one in (told, ours)]
    return [] if kinds[0] == kinds[1] else [f"{place}: {told!r} and {ours!r}"]


def test_the_stand_in_answers_as_a_daemon_does(settings: Settings, tmp_path: Path) -> None:
    real(StatePaths(settings.state_dir))
    told = while_served(settings, lambda client, _: answers(client))
    with answering(tmp_path / "s.sock") as server:
        stand_in(server)
        client = connect([tmp_path / "s.sock"])
        ours = answers(client)
        client.close()
    differences = {path: unlike(told[path], ours[path]) for path in ASKED}
    assert not any(differences.values()), differences
    assert ours["/v1/results"]["results"] and ours["/v1/jobs"]["jobs"], "there is something to compare"
    for path in ("/v1/queue?ids=2", "/v1/queue?ids=g3"):
        assert rows_of(ours[path]) == rows_of(told[path])
    for path in ("/v1/jobs/99", "/v1/jobs?ids=99,g99", "/v1/results?ids=2"):
        assert [ours[path][key] for key in ("code", "message")] == [
            told[path][key] for key in ("code", "message")
        ]


def rows_of(answer: dict[str, Any]) -> list[Any]:
    return [row["job"]["id"] if "job" in row else row["group"]["id"] for row in answer["rows"]]
