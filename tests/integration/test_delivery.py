"""A submission is queued once, and its user knows its numbers, whatever is interrupted. The daemon's parts, its socket
and the client are real; Ray is not started."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from gpujobs.cli.commands.submit import interrupted
from gpujobs.client import Client, delivery
from gpujobs.client.delivery import deliver
from gpujobs.client.submission import Submission, read_job_files
from gpujobs.config.settings import Settings
from gpujobs.daemon.build import Parts, build
from gpujobs.daemon.handlers import submit
from gpujobs.errors import DaemonUnreachableError, Interrupted, UsageError
from tests.acceptance.harness import write_job

from .served import while_served

COMMAND = ["submit", "a.yaml"]


@pytest.fixture(autouse=True)
def home(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(root / "home"))
    return root / "home/gpujobs/requests"


class Cut(Submission):
    """Ctrl-C comes when the answer is there, or before anything is sent."""

    when = "after"

    def send(self, client: Client, path: str, body: Any) -> dict[str, Any]:
        if self.when == "after":
            super().send(client, path, body)
        raise KeyboardInterrupt


class CutBefore(Cut):
    when = "before"


def queue(
    client: Client, root: Path, kind: type[Submission] = Submission, command: list[str] = COMMAND
) -> tuple[list[int], list[str]]:
    """The numbers, and what was said."""
    said: list[str] = []
    files = read_job_files([str(write_job(root))]).files
    jobs = deliver(client, kind(files), {"set": {}, "options": {}}, command, said.append)
    return [job["id"] for job in jobs], said


def count(client: Client) -> int:
    return len(client.get("/v1/jobs")["jobs"])


def cut(client: Client, root: Path, kind: type[Submission]) -> list[int] | None:
    with pytest.raises(Interrupted) as caught:
        queue(client, root, kind)
    return None if caught.value.jobs is None else [job["id"] for job in caught.value.jobs]


def test_ctrl_c_says_what_was_queued_and_the_same_command_queues_nothing_more(
    settings: Settings, root: Path
) -> None:
    def work(client: Client, _: Parts) -> Any:
        return cut(client, root, Cut), queue(client, root), count(client), queue(client, root), count(client)

    first, again, queued, third, in_all = while_served(settings, work)
    assert (first, again[0], queued) == ([1], [1], 1)
    assert again[1] == [
        "these were queued by the same command, which was interrupted; nothing was queued again"
    ]
    assert third == ([2], []) and in_all == 2, "it was answered: the next one means more"


def test_the_same_command_beside_one_that_is_on_its_way_queues_its_own(
    settings: Settings, root: Path, home: Path
) -> None:
    """A loop in a shell starts ten at once, and means ten. What a process leaves that has ended is taken up once."""

    def work(client: Client, _: Parts) -> Any:
        cut(client, root, Cut)
        (left,) = home.iterdir()
        with subprocess.Popen(["sleep", "1000"]) as other:
            theirs = left.with_name(f"{left.name.split('.')[0]}.{other.pid}.json")
            record = json.loads(left.read_text())
            left.unlink()
            theirs.write_text(json.dumps({**record, "ticks": delivery._ticks(other.pid)}))
            beside = queue(client, root)
            other.kill()
        return beside, queue(client, root)[0], queue(client, root)[0]

    assert while_served(settings, work) == (([2], []), [1], [3])


def test_a_minute_later_or_with_other_words_or_data_it_is_another_submission(
    settings: Settings, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other_data() -> None:
        os.utime(root / "tutorial.npz")

    def work(client: Client, _: Parts) -> Any:
        found: list[list[int]] = []
        for change in (
            lambda: monkeypatch.setattr(delivery, "SAME_COMMAND_SECONDS", 0.0),
            lambda: monkeypatch.undo(),
            other_data,
        ):
            cut(client, root, Cut)
            change()
            monkeypatch.setenv("XDG_STATE_HOME", str(root / "home"))
            found.append(queue(client, root, command=["other"] if len(found) == 1 else COMMAND)[0])
            for path in (root / "home/gpujobs/requests").iterdir():
                path.unlink()
        return found

    assert while_served(settings, work) == [[2], [4], [6]]


def test_ctrl_c_before_it_came_says_that_nothing_was_queued_and_nothing_is(
    settings: Settings, root: Path, home: Path
) -> None:
    def work(client: Client, _: Parts) -> Any:
        return cut(client, root, CutBefore), list(home.iterdir()), queue(client, root)

    assert while_served(settings, work) == ([], [], ([1], []))


def test_what_was_taken_back_is_refused_when_it_still_comes(settings: Settings, root: Path) -> None:
    def work(client: Client, _: Parts) -> int:
        body = {"set": {}, "options": {}, "request_key": "k"}
        assert client.post("/v1/requests/withdraw", {"request_key": "k"}) == {"jobs": []}
        with pytest.raises(UsageError, match="taken back"):
            read_job_files([str(write_job(root))]).send(client, "/v1/jobs", body)
        return count(client)

    assert while_served(settings, work) == 0


def test_taking_back_waits_for_a_submission_that_is_worked_on(settings: Settings, root: Path) -> None:
    async def ask() -> list[str]:
        daemon = build(settings)
        order: list[str] = []
        async with daemon.submissions._requests.work(1, "k"):
            waiting = asyncio.create_task(daemon.submissions._requests.settled(1, "k"))
            waiting.add_done_callback(lambda _: order.append("withdrawn"))
            await asyncio.sleep(0.05)
            order.append("queued")
        await waiting
        await asyncio.sleep(0)
        daemon.store.close()
        return order

    assert asyncio.run(ask()) == ["queued", "withdrawn"]


class Lost(web.Response):
    """The connection ends before the answer."""

    async def prepare(self, request: web.BaseRequest) -> Any:
        assert request.transport is not None
        request.transport.abort()
        raise ConnectionResetError


def lost_answer(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """The connection ends after the commit, as when the daemon is killed there."""
    whole: Callable[..., Any] = submit._created
    left = [times]

    def created(*arguments: Any) -> Any:
        if left[0] > 0:
            left[0] -= 1
            return Lost()
        return whole(*arguments)

    monkeypatch.setattr(submit, "_created", created)


def test_a_daemon_that_dies_after_the_commit_is_asked_again(
    settings: Settings, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost_answer(monkeypatch, 2)

    def work(client: Client, _: Parts) -> Any:
        return queue(client, root), count(client)

    (jobs, said), queued = while_served(settings, work)
    assert (jobs, queued) == ([1], 1)
    assert said == ["the daemon has closed the connection; it is asked again for 15 s"]


def test_the_same_command_takes_up_what_nobody_answered(
    settings: Settings, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "RECONNECT_SECONDS", 0.3)
    lost_answer(monkeypatch, 1000)

    def work(client: Client, _: Parts) -> Any:
        with pytest.raises(DaemonUnreachableError, match="so that nothing is queued twice"):
            queue(client, root)
        monkeypatch.undo()
        monkeypatch.setenv("XDG_STATE_HOME", str(root / "home"))
        return queue(client, root), count(client)

    (jobs, said), queued = while_served(settings, work)
    assert (jobs, queued, len(said)) == ([1], 1, 1)


def test_what_is_wrong_in_a_file_leaves_no_request_behind(settings: Settings, root: Path, home: Path) -> None:
    def work(client: Client, _: Parts) -> Any:
        path = write_job(root)
        path.write_text(path.read_text().replace("epochs", "epoch"))
        with pytest.raises(Exception, match="epoch"):
            deliver(client, read_job_files([str(path)]), {"set": {}, "options": {}}, COMMAND, print)
        return list(home.iterdir())

    assert while_served(settings, work) == []


def test_a_home_that_cannot_be_written_keeps_nobody_from_submitting(
    settings: Settings, root: Path, home: Path
) -> None:
    home.parent.parent.mkdir()
    home.parent.write_text("in the way")
    assert while_served(settings, lambda client, _: queue(client, root)) == ([1], [])


def test_what_is_said_after_ctrl_c(capsys: pytest.CaptureFixture[str]) -> None:
    interrupted(Interrupted(None))
    interrupted(Interrupted([]))
    interrupted(Interrupted([{"id": 7, "name": "a", "group_id": None}]))
    unknown, nothing, *queued = capsys.readouterr().err.splitlines()
    assert "is not known" in unknown and nothing.endswith("nothing was queued")
    assert "these were queued" in queued[0] and queued[1] == "7 a queued"
