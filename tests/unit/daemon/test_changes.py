"""What a change is made of: those that were seen, those that can be, and what is looked at first; over HTTP."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gpujobs.daemon.access import connections
from gpujobs.daemon.access.connections import ConnectionLimit
from gpujobs.lifecycle import Finish, Requeue
from gpujobs.model import Reason, State
from gpujobs.paths import StatePaths
from gpujobs.store.store import Store
from tests.unit.daemon.test_rights_of_requests import ADMIN, Box
from tests.unit.store.jobs import DEVICE, A, B, complete, having, new_job

FAILED = Finish(State.FAILED, Reason.TRAINING_ERROR, "it broke")


@pytest.fixture
def box(tmp_path: Path) -> Box:
    """Group g1 of a's: job 1 has completed, job 2 has failed, job 3 waits; job 4 is by itself, and waits."""
    box = Box(tmp_path)
    store = Store(StatePaths(tmp_path).database)
    group = [
        having(new_job(), data=(), group="s", group_start=0, sweep_values={"training.seed": seed})
        for seed in (1, 2, 3)
    ]
    store.submit(A, "k", [*group, new_job()])
    complete(store, 1)
    complete(store, 2, FAILED)
    store.close()
    return box


def asked(box: Box, verb: str, **body: Any) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(box.ask(A, "POST", f"/v1/jobs/{verb}", body))
    return answer


def states(box: Box) -> list[State]:
    store = Store(StatePaths(box.directory).database)
    found = [store.job(number).state for number in range(1, store.highest_number() + 1)]
    store.close()
    return found


def test_a_dry_run_says_which_jobs_would_be_changed_and_changes_none(box: Box) -> None:
    before = states(box)
    answer = asked(box, "cancel", ids=["g1", 4], dry_run=True)
    assert [job["id"] for job in answer["jobs"]] == [4, 3]
    assert [(one["id"], one["state"]) for one in answer["passed_over"]] == [(1, "COMPLETED"), (2, "FAILED")]
    assert states(box) == before


def test_what_was_not_seen_is_not_changed(box: Box) -> None:
    answer = asked(box, "cancel", choose={"mine": True, "state": "PENDING"}, only=[4])
    assert [job["id"] for job in answer["jobs"]] == [4]
    assert states(box) == [State.COMPLETED, State.FAILED, State.PENDING, State.CANCELLED]


def test_of_a_group_those_are_queued_again_that_have_failed(box: Box) -> None:
    answer = asked(box, "requeue", ids=["g1"])
    assert [one["id"] for one in answer["passed_over"]] == [1, 3]
    assert states(box) == [State.COMPLETED, State.FAILED, State.PENDING, State.PENDING, State.PENDING]


def test_what_an_admin_queues_again_is_its_users_all_the_same(box: Box) -> None:
    box.ask(ADMIN, "POST", "/v1/jobs/requeue", {"ids": [2, 1], "limit_seconds": 90})
    store = Store(StatePaths(box.directory).database)
    of_completed, of_failed = store.jobs([5, 6])
    for copy, origin, continues in ((of_completed, 1, None), (of_failed, 2, 2)):
        assert (copy.uid, copy.user, store.gid(copy.id)) == (A.uid, "a", A.gid)
        assert (copy.origin, copy.continues, copy.group_id, copy.name) == (origin, continues, 1, "j")
        assert copy.demand.time_limit_seconds == 90 and copy.sweep_values == {"training.seed": origin}
        assert [event.actor for event in store.events(copy.id)][:1] == ["root"]
    store.close()


@pytest.mark.parametrize(
    ("verb", "ids", "why"),
    [
        ("finish", [2], "job 2 has already ended: FAILED"),
        ("limit", [2], "job 2 has already ended: FAILED"),
        ("hold", [1], "job 1 is COMPLETED; only a PENDING job can be held or released"),
        ("release", [2], "job 2 is FAILED; only a PENDING job can be held or released"),
        ("prioritize", [1], "job 1 is COMPLETED; only a job that has not ended has a priority"),
        ("finish", [3], "job 3 has not begun; there is nothing to finish"),
        ("cancel", [], "expected the jobs to cancel"),
    ],
)
def test_what_is_named_and_cannot_be_changed_is_refused(
    box: Box, verb: str, ids: list[int], why: str
) -> None:
    more = {"prioritize": {"priority": 0}, "limit": {"limit_seconds": 60}}.get(verb, {})
    assert why in box.ask(A, "POST", f"/v1/jobs/{verb}", {"ids": ids, **more})


def test_released_are_those_that_are_held(box: Box) -> None:
    asked(box, "hold", ids=[3])
    answer = asked(box, "release", choose={"mine": True, "state": "PENDING"})
    assert [(job["id"], job["held"]) for job in answer["jobs"]] == [(3, False)]


# Logs


@pytest.fixture
def logged(box: Box) -> Box:
    """Job 4 has had two attempts, whose logs are among its results."""
    paths = StatePaths(box.directory)
    store = Store(paths.database)
    store.start_attempt(4, DEVICE)
    store.requeue(4, 1, Requeue(Reason.RETRY, "again", False))
    results = paths.result(4)
    results.mkdir(parents=True)
    (results / "log.txt").write_text("a\nb\n\nc\n")
    (results / "log-1.txt").write_text("first\nwithout an end")
    complete(store, 4, results=str(results))
    store.close()
    return box


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("", "a\nb\n\nc\n"),
        ("?tail=0", ""),
        ("?tail=1", "c\n"),
        ("?tail=2", "\nc\n"),
        ("?tail=4", "a\nb\n\nc\n"),
        ("?tail=9", "a\nb\n\nc\n"),
        ("?attempt=2&tail=1", "c\n"),
        ("?attempt=1", "first\nwithout an end"),
        ("?attempt=1&tail=1", "without an end"),
        ("?attempt=3", "usage: job 4 has attempts 1 to 2, not attempt 3"),
    ],
)
def test_the_last_lines_of_a_log_are_those_that_were_asked_for(logged: Box, query: str, text: str) -> None:
    assert logged.ask(A, "GET", f"/v1/jobs/4/log{query}") == text


# Models of others

APPLIES = "name: p\nmodel: {job: 2}\npredict:\n  - {name: one, values: [[0], [0]]}\n"


def test_a_model_is_for_those_who_may_read_it(box: Box) -> None:
    body = {"request_key": "p", "files": [{"path": "p.yaml", "text": APPLIES}]}
    assert "belongs to a; b may not use the model of it" in box.ask(B, "POST", "/v1/jobs", body)
    for caller in (A, ADMIN):
        assert "p.yaml:2: job 2 is FAILED and has no model." in box.ask(caller, "POST", "/v1/jobs", body)


# Connections of one user


@asynccontextmanager
async def door(
    directory: Path, per_user: int | None, uid_of: Callable[[socket.socket], int]
) -> AsyncIterator[str]:
    path = str(directory / "door")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    listener.setblocking(False)
    limit = ConnectionLimit(asyncio.Protocol, per_user, uid_of)
    await limit.admit(listener)
    try:
        yield path
    finally:
        await limit.close()


async def knock(path: str, count: int) -> list[asyncio.StreamWriter | str]:
    """Each connection that stays, or what was answered to one that does not."""
    found: list[asyncio.StreamWriter | str] = []
    for _ in range(count):
        reader, writer = await asyncio.open_unix_connection(path)
        try:
            found.append((await asyncio.wait_for(reader.read(), 0.2)).decode())
            writer.close()
        except TimeoutError:
            found.append(writer)
    return found


@pytest.mark.parametrize(("per_user", "uid", "let_in"), [(2, 1234, 2), (None, 1234, 3), (2, os.geteuid(), 3)])
def test_one_user_has_so_many_connections_and_no_more(
    tmp_path: Path, per_user: int | None, uid: int, let_in: int
) -> None:
    """Whose own daemon it is has as many as they like."""

    async def work() -> None:
        async with door(tmp_path, per_user, lambda _: uid) as path:
            found = await knock(path, 3)
            refused = [one for one in found if isinstance(one, str)]
            assert len(refused) == 3 - let_in
            assert all("429" in one and "1234 has 2 connections open" in one for one in refused)
            for one in found:
                if isinstance(one, asyncio.StreamWriter):
                    one.close()
                    await one.wait_closed()
            (again,) = await knock(path, 1)
            assert isinstance(again, asyncio.StreamWriter)
            again.close()

    asyncio.run(work())


def test_a_connection_that_cannot_be_accepted_ends_and_closes_the_door_to_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "RETRY_ACCEPT_SECONDS", 0.0)
    asked = itertools.count()

    def uid_of(_: socket.socket) -> int:
        if next(asked) == 0:
            raise OSError("no descriptor is left")
        return 1234

    async def work() -> None:
        async with door(tmp_path, 1, uid_of) as path:
            first, second = await knock(path, 2)
            assert first == "", "whoever has come must not wait for an answer"
            assert isinstance(second, asyncio.StreamWriter)
            second.close()

    asyncio.run(work())
