"""Who may ask for what: the handlers of a real daemon that was not started, over HTTP."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from gpujobs.config.settings import Settings
from gpujobs.config.site import Access
from gpujobs.daemon.access.policy import AccessPolicy
from gpujobs.daemon.build import build
from gpujobs.daemon.daemon import Daemon
from gpujobs.daemon.keys import CALLER
from gpujobs.daemon.server import make_application
from gpujobs.daemon.site_service import SiteService
from gpujobs.errors import GpujobsError
from gpujobs.model import Caller
from gpujobs.paths import StatePaths
from gpujobs.store.store import Store
from tests.unit.store.jobs import DEVICE, A, B, complete, new_job

ADMIN = Caller(uid=0, gid=0, pid=1, user="root", is_admin=True)


class Box:
    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def ask(self, caller: Caller, method: str, path: str, body: Any = None) -> str:
        """The message of the refusal, or the body of the answer."""
        return asyncio.run(self._ask(caller, method, path, body))

    async def _ask(self, caller: Caller, method: str, path: str, body: Any) -> str:
        @web.middleware
        async def as_caller(request: web.Request, handler: Any) -> web.StreamResponse:
            request[CALLER] = caller
            try:
                answer: web.StreamResponse = await handler(request)
            except GpujobsError as error:
                return web.Response(text=f"{error.code}: {error}")
            return answer

        daemon = build(Settings("personal", self.directory, self.directory / "socket"))
        application = make_application(daemon, [as_caller])
        async with TestClient(TestServer(application)) as client:
            text = await (await client.request(method, path, json=body)).text()
        await Daemon(daemon).close()
        return text


@pytest.fixture
def box(tmp_path: Path) -> Box:
    """Job 1, and group g2 of jobs 2 and 3; all are a's."""
    box = Box(tmp_path)
    store = Store(StatePaths(tmp_path).database)
    sweep = [
        replace(new_job(), group="s", group_start=1, sweep_values={"training.seed": seed}) for seed in (1, 2)
    ]
    store.submit(A, "k", [new_job(), *sweep])
    store.close()
    return box


RESERVATION = {"devices": ["0"], "user": "root"}


@pytest.mark.parametrize(
    ("path", "body", "verb"),
    [
        ("/v1/gpus/drain", {"devices": ["0"]}, "drain devices"),
        ("/v1/gpus/resume", {"devices": ["0"]}, "resume devices"),
        ("/v1/reservations", RESERVATION, "reserve devices"),
        ("/v1/reservations/1/cancel", {}, "cancel reservations"),
    ],
)
def test_devices_are_the_admins_to_drain_and_to_reserve(box: Box, path: str, body: Any, verb: str) -> None:
    assert f"a may not {verb}; ask an administrator" in box.ask(A, "POST", path, body)
    assert "may not" not in box.ask(ADMIN, "POST", path, body)


@pytest.mark.parametrize(
    ("method", "path", "body", "refusal"),
    [
        ("GET", "/v1/nodes/tokens", None, "a may not see the token files; ask an administrator"),
        ("POST", "/v1/nodes/revoke", {"name": "box2"}, "a may not revoke certificates; ask an administrator"),
        (
            "POST",
            "/v1/nodes/renew",
            {},
            "a may not renew the cluster's authority; that is for the daemon's own user",
        ),
        (
            "POST",
            "/v1/nodes/token",
            {"once": True},
            "a may not have the cluster's token; it is for the daemon's own",
        ),
    ],
)
def test_who_may_join_is_not_for_everybody_to_say(
    box: Box, method: str, path: str, body: Any, refusal: str
) -> None:
    assert refusal in box.ask(A, method, path, body)
    assert "may not" not in box.ask(ADMIN, method, path, body)


@pytest.mark.parametrize(
    ("method", "path", "body", "refusal"),
    [
        ("GET", "/v1/backup", None, "a may not copy the store, which has everybody's jobs"),
        ("POST", "/v1/stop", {"mode": "?"}, "a may not stop this daemon; it is for its administrators"),
        ("POST", "/v1/nodes/remove", {"name": "box2"}, "a may not remove nodes; ask an administrator"),
    ],
)
def test_what_is_everybodys_is_not_for_one_of_them(
    box: Box, method: str, path: str, body: Any, refusal: str
) -> None:
    assert refusal in box.ask(A, method, path, body)
    assert "may not" not in box.ask(ADMIN, method, path, body)


def test_where_nothing_is_encrypted_nothing_can_be_revoked_and_the_way_that_works_is_named(box: Box) -> None:
    for path, body in (("revoke", {"name": "box2"}), ("revoke", {"token": "3f"}), ("renew", {})):
        said = box.ask(ADMIN, "POST", f"/v1/nodes/{path}", body)
        assert (
            "there are no certificates; [cluster] tls is off" in said and "remove cluster-token from" in said
        )


@pytest.mark.parametrize("verb", ["cancel", "hold", "release", "requeue", "prioritize", "finish", "limit"])
def test_nobody_changes_the_jobs_of_others(box: Box, verb: str) -> None:
    more = {"prioritize": {"priority": 0}, "limit": {"limit_seconds": 60}}.get(verb, {})
    assert "belongs to a; b may not" in box.ask(B, "POST", f"/v1/jobs/{verb}", {"ids": [1], **more})


@pytest.mark.parametrize(
    "path", ["/v1/ranking?ids=g2", "/v1/jobs/1", "/v1/jobs/1/log", "/v1/results/1/metrics.json"]
)
def test_nobody_reads_what_others_have_found(box: Box, path: str) -> None:
    assert "belongs to a; b may not" in box.ask(B, "GET", path)
    assert "belongs to a" not in box.ask(A, "GET", path)


@pytest.fixture
def done(box: Box) -> Box:
    """As `box`, with results: a's jobs 1 to 3 and job 4 of b's."""
    store = Store(StatePaths(box.directory).database)
    store.submit(B, "k", [new_job()])
    for job in (1, 2, 3, 4):
        results = StatePaths(box.directory).result(job)
        results.mkdir(parents=True)
        complete(store, job, results=str(results))
    store.close()
    return box


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", [4]),
        ("?user=a", []),
        ("?own=1&state=COMPLETED", [4]),
        ("?ids=1-4&own=1", [4]),
        ("?ids=g2,4", None),
    ]
    + [(f"?ids={ids}", None) for ids in ("1", "1,4", "4,1", "g2")],
)
def test_the_catalogue_has_the_results_that_one_may_read(
    done: Box, query: str, found: list[int] | None
) -> None:
    """None: it is refused, as others are named."""
    answer = done.ask(B, "GET", f"/v1/results{query}")
    if found is None:
        assert "belongs to a; b may not read the results of it" in answer
    else:
        assert [one["job"] for one in json.loads(answer)["results"]] == found
    assert len(json.loads(done.ask(A, "GET", "/v1/results"))["results"]) == 3


@pytest.mark.parametrize(
    ("caller", "mine", "gone"),
    [
        (B, False, {4}),
        (B, True, {4}),
        (A, False, {1, 2, 3}),
        (ADMIN, False, {1, 2, 3, 4}),
        (ADMIN, True, set()),
    ],
)
def test_people_remove_what_is_theirs_and_admins_what_is_anybodys(
    done: Box, caller: Caller, mine: bool, gone: set[int]
) -> None:
    asked = {"older_than_seconds": 0, "kinds": ["results"], "mine": mine}
    planned = json.loads(done.ask(caller, "POST", "/v1/prune", {**asked, "dry_run": True}))
    assert {one["job"] for one in planned["removed"]} == gone
    removed = json.loads(done.ask(caller, "POST", "/v1/prune", asked))
    assert {one["job"] for one in removed["removed"]} == gone
    left = {job for job in (1, 2, 3, 4) if StatePaths(done.directory).result(job).exists()}
    assert left == {1, 2, 3, 4} - gone


@pytest.mark.parametrize(
    ("caller", "is_site", "may"), [(A, True, False), (ADMIN, True, True), (A, False, True)]
)
def test_the_records_of_a_sites_jobs_are_the_admins_to_remove(
    done: Box, monkeypatch: pytest.MonkeyPatch, caller: Caller, is_site: bool, may: bool
) -> None:
    monkeypatch.setattr(SiteService, "access", property(lambda self: AccessPolicy(is_site, Access())))
    asked = {"older_than_seconds": 0, "kinds": ["results", "jobs"]}
    for dry_run in (True, False):
        answer = done.ask(caller, "POST", "/v1/prune", {**asked, "dry_run": dry_run})
        assert ("a may not remove the records of jobs; ask an admin" in answer) is not may
    assert StatePaths(done.directory).result(1).exists() is not may


@pytest.mark.parametrize("caller", [A, ADMIN])
def test_records_of_jobs_are_removed_where_they_are_named(done: Box, caller: Caller) -> None:
    """Their results may go and come again; the records of what was done do not."""
    answer = json.loads(done.ask(caller, "POST", "/v1/prune", {"older_than_seconds": 0}))
    assert "results" in {one["kind"] for one in answer["removed"]}
    assert "jobs" not in {one["kind"] for one in answer["removed"]}
    store = Store(StatePaths(done.directory).database)
    assert {job.id for job in store.ended()} == {1, 2, 3, 4}
    store.close()


def test_what_somebody_has_submitted_is_taken_back_by_nobody_else(box: Box) -> None:
    asked = {"request_key": "k"}
    assert json.loads(box.ask(B, "POST", "/v1/requests/withdraw", asked)) == {"jobs": []}
    assert len(json.loads(box.ask(A, "POST", "/v1/requests/withdraw", asked))["jobs"]) == 3


TRAINS = (
    "data: {train: t.npz}\nmodel: {layers: [LSTM: {units: 1}, Dense: {units: 1}]}\ntraining: {loss: mse}\n"
)


def test_who_knows_the_hash_of_somebodys_data_has_to_upload_it_all_the_same(box: Box) -> None:
    paths, known = StatePaths(box.directory), "5" * 64
    store = Store(paths.database)
    store.uploads.add(A.uid, known, 4)
    store.close()
    paths.data(A.uid, known).parent.mkdir(parents=True)
    paths.data(A.uid, known).write_bytes(b"data")
    data = {"t.npz": {"sha256": known, "bytes": 4}}
    body = {"request_key": "d", "files": [{"path": "j.yaml", "text": TRAINS, "data": data}]}
    assert json.loads(box.ask(B, "POST", "/v1/jobs", body)) == {"missing": [known]}
    (job,) = json.loads(box.ask(A, "POST", "/v1/jobs", body))["jobs"]
    assert (job["id"], job["user"]) == (4, "a")


def test_a_priority_above_the_sites_is_the_admins_to_give(box: Box) -> None:
    asked = {"ids": [1], "priority": 1}
    assert "the priority is 1; at most 0 is allowed" in box.ask(A, "POST", "/v1/jobs/prioritize", asked)
    assert '"priority": 1' in box.ask(ADMIN, "POST", "/v1/jobs/prioritize", asked)
    assert '"priority": -1' in box.ask(A, "POST", "/v1/jobs/prioritize", {**asked, "priority": -1})


def test_a_job_that_is_just_ending_is_not_queued_again(box: Box) -> None:
    store = Store(StatePaths(box.directory).database)
    store.start_attempt(1, DEVICE)
    store.mark_completing(1, 1, {"state": "FAILED"})
    store.close()
    said = box.ask(A, "POST", "/v1/jobs/requeue", {"ids": [1]})
    assert "job 1 is COMPLETING; it can be queued again as soon as it has ended" in said
