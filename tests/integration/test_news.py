"""News of jobs: from an event in the store to whoever is told, and what the history says of it."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from operator import methodcaller
from pathlib import Path
from typing import Any

import pytest

from gpujobs import failpoints
from gpujobs.config.news import NotifyTable
from gpujobs.config.settings import resolve
from gpujobs.daemon.build import Parts, build
from gpujobs.daemon.main import prepare_state
from gpujobs.daemon.modes import Mode
from gpujobs.daemon.news import health
from gpujobs.demand import Demand
from gpujobs.errors import UsageError
from gpujobs.lifecycle import Finish
from gpujobs.linux import sendmail
from gpujobs.model import Caller, Device, DeviceKind, Reason, State, iso, utc_now
from gpujobs.paths import StatePaths
from gpujobs.protocol import codec
from gpujobs.protocol.news import Delivery, Outcome
from gpujobs.protocol.spec import Identity
from gpujobs.supervise import delivery
from tests.unit.store.jobs import complete, new_job

from .node import until
from .receivers import mail_server, web_server

ME = Caller(os.geteuid(), os.getegid(), os.getpid(), pwd.getpwuid(os.geteuid()).pw_name)
FAILED = Finish(State.FAILED, Reason.NAN_LOSS, "the loss is not a number")
DEVICE = Device("n", DeviceKind.CPU, 0, "CPU-n-0", "cpu")
SHOW = (
    "id -u; id -G; grep -E '^(NoNewPrivs|CapEff|Uid)' /proc/self/status; ls /proc/self/fd | wc -l; pwd; umask"
)
QUICK = "retry_after = 1\ntimeout = 5\n"


def new_daemon(root: Path, table: str = "") -> Parts:
    (root / "gpujobs.toml").write_text(f"[notify]\n{QUICK if 'retry_after' not in table else ''}{table}")
    settings = resolve({"state_dir": str(root / "s"), "config": str(root / "gpujobs.toml")}, environ={})
    prepare_state(StatePaths(settings.state_dir), Mode.PERSONAL)
    return build(settings)


@asynccontextmanager
async def telling(parts: Parts) -> AsyncIterator[Parts]:
    """The outbox of a daemon at work; it ends as if the daemon was killed."""
    work = asyncio.create_task(parts.outbox.run())
    try:
        yield parts
    finally:
        parts.tasks.close()
        work.cancel()
        with suppress(asyncio.CancelledError):
            await work
        await until(lambda: not parts.tasks._tasks)
        parts.store.close()


def submit(parts: Parts, notify: Any = None, count: int = 1, **more: Any) -> list[int]:
    resolved: dict[str, Any] = {
        "model": {},
        "training": {"loss": "mse"},
        "data": {"scaling": {"x": "none", "y": "none"}},
        **({} if notify is None else {"notify": notify}),
    }
    jobs = [replace(new_job(), resolved=resolved, **more) for _ in range(count)]
    done = parts.writer.jobs(lambda store: store.submit(ME, f"{time.monotonic_ns()}", jobs))
    return [job.id for job in done]


def ended(parts: Parts, job: int, step: Finish | None = None) -> None:
    finish = (
        (lambda store: complete(store, job)) if step is None else (lambda store: complete(store, job, step))
    )
    parts.writer.job(finish)


def history(parts: Parts, job: int) -> list[str]:
    return [event.message for event in parts.store.events(job) if event.kind == "news"]


async def told(parts: Parts, job: int, count: int = 1) -> list[str]:
    """What the history says of the tries, once there were so many."""
    return await until(lambda: (found := history(parts, job)) and len(found) >= count and found)


def script(root: Path, text: str) -> str:
    path = root / "hook"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_a_failure_is_told_by_mail_by_url_and_by_command(tmp_path: Path) -> None:
    hook = script(tmp_path, f"cat > {tmp_path}/news; env > {tmp_path}/env; echo well; echo received")

    async def run() -> None:
        async with mail_server() as mail, web_server() as pages:
            table = f"smtp = '127.0.0.1:{mail.port}'\nsender = 'g@example.org'\nmail_domain = 'example.org'\n"
            async with telling(new_daemon(tmp_path, table)) as parts:
                to = ["mail", "ada@example.org", pages.url]
                (job,) = submit(parts, {"on": ["failure"], "to": to, "command": [hook, "-x"]})
                ended(parts, job, FAILED)
                said = await told(parts, job, 4)
            assert sorted(mail.recipients) == sorted([f"{ME.user}@example.org", "ada@example.org"])
            letter = mail.letters[0]
            assert letter["From"] == "g@example.org" and letter["Auto-Submitted"] == "auto-generated"
            assert letter["Subject"] == f'[gpujobs] job {job} "j" has ended: FAILED, NaNLoss'
            assert "the loss is not a number" in letter.get_content()
            (post,) = pages.posts
            assert (post["event"], post["job"]["id"], post["job"]["state"]) == ("failure", job, "FAILED")
            assert post["id"] == pages.keys[0] and post["job"]["reason"] == "NaNLoss"
            news = json.loads((tmp_path / "news").read_text())
            assert news["subject"] == f'job {job} "j" has ended: FAILED, NaNLoss'
            variables = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines())
            assert (variables["GPUJOBS_EVENT"], variables["GPUJOBS_JOB"]) == ("failure", str(job))
            assert not {"PYTHONPATH", "PYTEST_CURRENT_TEST", "VIRTUAL_ENV"} & variables.keys()
            assert any(line.endswith(f"told to the command {hook}: received") for line in said), said
            assert not any("secret" in line for line in said), "what follows a URL's host may be one"

    asyncio.run(run())


def test_what_is_not_asked_for_is_not_told(tmp_path: Path) -> None:
    async def run() -> None:
        async with web_server() as pages, telling(new_daemon(tmp_path)) as parts:
            quiet, none, loud = (
                submit(parts, notify)[0]
                for notify in (
                    {"on": ["failure"], "to": [pages.url]},
                    {"on": [], "to": [pages.url]},
                    {"on": ["end"], "to": [pages.url]},
                )
            )
            for job in (quiet, none, loud):
                ended(parts, job)
            await told(parts, loud)
            assert [post["job"]["id"] for post in pages.posts] == [loud]
            assert pages.posts[0]["event"] == "end"

    asyncio.run(run())


def test_a_setting_counts_where_the_file_says_nothing_and_from_then_on(tmp_path: Path) -> None:
    async def run() -> None:
        async with web_server() as pages, telling(new_daemon(tmp_path)) as parts:
            before, after, other = submit(parts, count=3)
            ended(parts, before)
            await until(lambda: parts.outbox._looked_at == parts.store.history.newest()[0])
            await parts.news.set(ME, {"on": ["end"], "to": [pages.url]})
            parts.outbox._looked_at = 0  # as after a restart: events are looked at again
            ended(parts, after)
            await told(parts, after)
            await parts.news.set(ME, None)
            ended(parts, other)
            (named,) = submit(parts, {"to": [pages.url]})
            ended(parts, named)
            await told(parts, named)
            assert [post["job"]["id"] for post in pages.posts] == [after, named]

    asyncio.run(run())


def test_a_sweep_is_told_once_with_its_best_job(tmp_path: Path) -> None:
    async def run() -> None:
        async with web_server() as pages, telling(new_daemon(tmp_path)) as parts:
            notify = {"on": ["end", "failure"], "to": [pages.url]}
            jobs = submit(parts, notify, 4, group="s", sweep_values={"training.batch_size": 8})
            for number, job in enumerate(jobs[:-1]):
                results = tmp_path / f"r{number}"
                results.mkdir()
                (results / "metrics.json").write_text(json.dumps({"final": {"loss": 0.5 - number / 10}}))
                ended(parts, job)
                parts.store._connection.execute(
                    "UPDATE jobs SET results = ? WHERE id = ?", (str(results), job)
                )
            ended(parts, jobs[-1], FAILED)
            said = await told(parts, jobs[-1])
            assert len(pages.posts) == 1 and said[0].startswith(f"failure of g{jobs[0]} told to ")
            post = pages.posts[0]
            assert post["subject"] == f'group g{jobs[0]} "s" has ended: 3 COMPLETED, 1 FAILED'
            assert post["group"]["ranking"][0] == {"job": jobs[2], "value": 0.3}
            assert f"best by loss: job {jobs[2]} with 0.3 (batch_size=8)" in post["text"]

    asyncio.run(run())


def test_a_start_is_news_after_a_long_wait_a_stranger_once_and_a_limit_when_it_is_near(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        async with web_server() as pages, telling(new_daemon(tmp_path, "long_wait = '10m'\n")) as parts:
            notify = {"on": ["start", "stranger", "time_limit"], "to": [pages.url]}
            soon, late = submit(parts, notify, 2, demand=Demand(time_limit_seconds=100))
            hour_ago = iso(utc_now() - timedelta(hours=1))
            connection = parts.store._connection
            connection.execute("DROP TRIGGER events_are_append_only_update")
            connection.execute("UPDATE events SET at = ? WHERE job = ?", (hour_ago, late))
            for job in (soon, late):
                parts.writer.job(methodcaller("start_attempt", job, DEVICE))
                parts.writer.job(methodcaller("mark_running", job, 1, 99, utc_now()))
            await told(parts, late)
            for pid in (7, 8):
                parts.writer.do(methodcaller("note", soon, "stranger", f"pid {pid} of bob on cpu 0"))
            begun = iso(utc_now() - timedelta(seconds=91))
            connection.execute("UPDATE attempts SET started_at = ? WHERE job = ?", (begun, soon))
            parts.cache.put(parts.store.job(soon))
            parts.outbox.wake()
            await told(parts, soon, 2)
            found = {(post["event"], post["job"]["id"]): post["subject"] for post in pages.posts}
            assert found == {
                ("start", late): f'job {late} "j" has started after it has waited for 60 min',
                ("stranger", soon): f'job {soon} "j" is not alone on its device: pid 7 of bob on cpu 0',
                ("time_limit", soon): f'job {soon} "j": 10 s of its time limit of 100 s are left',
            }, found

    asyncio.run(run())


def test_what_fails_is_tried_again_and_the_history_has_each_try(tmp_path: Path) -> None:
    async def run() -> None:
        async with (
            mail_server(answers=["451 later"]) as mail,
            web_server() as pages,
            telling(new_daemon(tmp_path, f"smtp = '127.0.0.1:{mail.port}'\n")) as parts,
        ):
            (job,) = submit(parts, {"to": ["ada@example.org"]})
            ended(parts, job)
            first, second = await told(parts, job, 2)
            assert first == "end not told to ada@example.org, try 1 of 5, again in 1 s: 451 later"
            assert second == "end told to ada@example.org: 127.0.0.1 has taken it"
            for status, words in ((404, "answered 404 so it is"), (302, "answered 302: it is elsewhere")):
                pages.answers.append(status)
                (refused,) = submit(parts, {"to": [pages.url]})
                ended(parts, refused)
                (only,) = await told(parts, refused)
                assert f"given up after try 1 of 5: {words}" in only
            assert parts.store.job(refused).state is State.COMPLETED
            assert pages.elsewhere == [], "a redirection was followed"

    asyncio.run(run())


def test_a_server_that_repeats_a_url_does_not_give_it_away(tmp_path: Path) -> None:
    async def run() -> None:
        async with web_server() as pages, telling(new_daemon(tmp_path)) as parts:
            pages.answers.append(404)
            pages.says = f"{'x' * 200} Cannot POST {pages.url}, with the key secret"
            (job,) = submit(parts, {"to": [pages.url]})
            ended(parts, job)
            (said,) = await told(parts, job)
            assert "answered 404 xxx" in said and "Cannot POST" in said and "secr" not in said

    asyncio.run(run())


def test_a_server_that_is_down_is_given_up_in_the_end(tmp_path: Path) -> None:
    async def run() -> None:
        async with mail_server() as mail:
            port = mail.port
        table = f"smtp = '127.0.0.1:{port}'\ntries = 2\n"
        async with telling(new_daemon(tmp_path, table)) as parts:
            (job,) = submit(parts, {"to": ["ada@example.org"]})
            ended(parts, job)
            said = await told(parts, job, 2)
            assert said[1] == (
                f"end not told to ada@example.org, given up after try 2 of 2: 127.0.0.1:{port}: Connection refused"
            )
            assert parts.store.news.waiting() == []

    asyncio.run(run())


def test_a_hook_that_hangs_delays_nobody_else_and_is_killed_with_its_children(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    hook = script(tmp_path, f"setsid sleep 1234 & echo $! >> {pids}; echo $$ >> {pids}; exec sleep 1234")

    async def run() -> None:
        async with (
            web_server() as pages,
            telling(new_daemon(tmp_path, "timeout = 2\nretry_after = 60\n")) as parts,
        ):
            (hanging,) = submit(parts, {"command": [hook]})
            (other,) = submit(parts, {"to": [pages.url]})
            ended(parts, hanging)
            await until(lambda: pids.exists() and len(pids.read_text().split()) == 2)
            ended(parts, other)
            await told(parts, other)
            assert history(parts, hanging) == []
            (said,) = await told(parts, hanging)
            assert "try 1 of 5, again in 1 min: nothing came of it within 2 s; it was ended" in said
            assert not [pid for pid in pids.read_text().split() if Path(f"/proc/{pid}").exists()]
            pids.unlink()
            (last,) = submit(parts, {"command": [hook, "until the daemon ends"]})
            ended(parts, last)
            await until(lambda: pids.exists() and len(pids.read_text().split()) == 2)
        await until(lambda: not [pid for pid in pids.read_text().split() if Path(f"/proc/{pid}").exists()])

    asyncio.run(run())


def test_news_survive_the_daemon_and_keep_their_id(tmp_path: Path) -> None:
    """One is killed before it has looked at the end; one after it has told, before that is recorded."""

    async def run() -> None:
        async with web_server() as pages:
            parts = new_daemon(tmp_path)
            (job,) = submit(parts, {"to": [pages.url]})
            ended(parts, job)
            parts.store.close()
            failpoints.arm("news.told=error:EIO*1")
            try:
                async with telling(new_daemon(tmp_path)) as parts:
                    await until(lambda: pages.posts)
            finally:
                failpoints.arm("")
            async with telling(new_daemon(tmp_path)) as parts:
                await told(parts, job)
            async with telling(new_daemon(tmp_path)) as parts:
                (last,) = submit(parts, {"to": [pages.url]})
                ended(parts, last)
                await told(parts, last)
            assert [post["job"]["id"] for post in pages.posts[1:]] == [job, last]
            assert pages.keys[0] == pages.keys[1] != pages.keys[2]

    asyncio.run(run())


def test_what_is_more_than_the_site_allows_in_an_hour_is_said_and_not_told(tmp_path: Path) -> None:
    async def run() -> None:
        async with web_server() as pages, telling(new_daemon(tmp_path, "per_hour = 2\n")) as parts:
            jobs = submit(parts, {"to": [pages.url]}, 4)
            for job in jobs:
                ended(parts, job)
            for job in jobs:
                await told(parts, job)
            assert sorted(post["job"]["id"] for post in pages.posts) == jobs[:2]
            assert history(parts, jobs[3])[0].endswith("more than 2 within an hour")
            assert "2 news within an hour" in pages.posts[1]["text"]

    asyncio.run(run())


def test_a_test_counts_as_often_as_it_tells(tmp_path: Path) -> None:
    async def run() -> None:
        async with web_server() as pages, telling(new_daemon(tmp_path, "per_hour = 3\n")) as parts:
            await parts.news.set(ME, {"to": [pages.url, f"{pages.url}&too"]})
            assert [outcome.sent for _, outcome in await parts.news.test(ME)] == [True, True]
            assert len(set(pages.keys)) == 2, "each has an id of its own"
            with pytest.raises(UsageError, match=r"told 2 times within an hour, .* tell 2 recipients"):
                await parts.news.test(ME)
            assert len(pages.posts) == 2

    asyncio.run(run())


def order_by(way: str, to: tuple[str, ...], **more: Any) -> Delivery:
    """Of ada's, with our own rights where `more` says no others."""
    return Delivery(
        **{
            "identity": Identity(os.geteuid(), os.getegid(), (), "/"),
            "user": "ada",
            "way": way,
            "to": to,
            "message_id": "<1@x>",
            "subject": "s",
            "text": "t",
            "news": {},
            "environment": {},
            "sender": "g@example.org",
            "server": None,
            "timeout_seconds": 10,
            **more,
        }
    )


def test_a_command_is_run_with_its_users_rights_and_nothing_of_the_daemons(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: to take the identity of others")
    order = order_by(
        "command",
        ("/bin/sh", "-c", f"({SHOW}) | tr '\\n' ' '; exit 7"),
        identity=Identity(12345, 12346, (12346, 12347), "/nowhere"),
    )
    done = subprocess.run(
        [sys.executable, "-P", "-m", "gpujobs.supervise.delivery"],
        input=codec.encode(order),
        capture_output=True,
        check=True,
    )
    outcome = codec.parse(Outcome, done.stdout)
    assert not outcome.sent and outcome.again
    words = outcome.said.removeprefix("exit code 7: ").split()
    assert words[:3] == ["12345", "12346", "12347"]
    assert words[3:8] == ["Uid:", *["12345"] * 4]
    assert words[8:] == ["CapEff:", "0000000000000000", "NoNewPrivs:", "1", "4", "/", "0077"]


def test_a_command_that_prints_much_or_reads_nothing_is_no_trouble(tmp_path: Path) -> None:
    def of(words: tuple[str, ...], **more: Any) -> Outcome:
        me = Identity(os.geteuid(), os.getegid(), tuple(sorted(os.getgroups())), str(tmp_path))
        order = order_by("command", words, identity=me, news={"long": "x" * 200_000}, timeout_seconds=20)
        done = subprocess.run(
            [sys.executable, "-P", "-m", "gpujobs.supervise.delivery"],
            input=codec.encode(replace(order, **more)),
            capture_output=True,
            check=True,
        )
        return codec.parse(Outcome, done.stdout)

    assert of(
        ("/bin/sh", "-c", "head -c 5000000 /dev/zero | tr '\\0' 'y'; echo; wc -c | tr -d ' '")
    ) == Outcome(True, False, "200013")
    assert of(("/bin/sh", "-c", "exec <&-; sleep 0.2; printf 'a\\033[31m'")) == Outcome(True, False, "a?[31m")
    assert of(("/nowhere",)) == Outcome(False, False, "No such file or directory")


def test_a_letter_has_no_line_of_the_jobs_making_in_its_head(tmp_path: Path) -> None:
    from gpujobs.sender.mail import letter

    order = order_by("mail", ("ada@example.org",), subject="a\r\nBcc: eve@example.org")
    assert letter(order)["Subject"] == "a Bcc: eve@example.org" and letter(order)["Bcc"] is None


def test_a_sendmail_that_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gpujobs.sender import mail

    program = script(tmp_path, "cat > /dev/null; echo no queue; exit 75")
    monkeypatch.setattr(sendmail, "PLACES", (program,))
    order = order_by("mail", ("ada@example.org",))
    assert mail.send(order) == Outcome(False, True, f"{program}: exit code 75: no queue")


def test_whatever_the_users_side_answers_is_a_line(tmp_path: Path) -> None:
    """A process with the user's rights writes the answer, and may write anything."""
    for answer in (b"", b"{}", b"nonsense", b'{"sent": 1, "again": 0, "said": ""}', b"x" * 100_000):
        reader, writer = os.pipe()
        if os.fork() == 0:
            os.write(writer, answer)
            os._exit(0)
        os.close(writer)
        assert delivery.read_outcome(reader, 10) == Outcome(False, True, "it ended without a word")
        os.close(reader)
        os.wait()


@pytest.mark.parametrize(
    ("chunk", "seconds", "said"),
    [
        (b"x", 0.5, "nothing came of it within 0.5 s; it was ended"),
        (b"x" * 100_000, 3.0, "it ended without a word"),
    ],
)
def test_whoever_goes_on_answering_is_not_listened_to_beyond_its_time_or_room(
    chunk: bytes, seconds: float, said: str
) -> None:
    """One says a little again and again, the other too much, for 6 s."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        for _ in range(60):
            os.write(writer, chunk)
            time.sleep(0.1)
        os._exit(0)
    os.close(writer)
    try:
        assert delivery.read_outcome(reader, seconds) == Outcome(False, True, said)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(reader)


def test_doctor_says_whether_mail_can_be_sent(tmp_path: Path) -> None:
    async def run() -> None:
        async with mail_server() as mail, mail_server() as other:
            ok, said = await health.look(NotifyTable(smtp=f"127.0.0.1:{mail.port}"))
            assert ok and said.startswith(
                f"mail goes by 127.0.0.1:{mail.port}; jobs may name url and command"
            )
            other.silent = True
            ok, said = await health.look(NotifyTable(smtp=f"127.0.0.1:{other.port}"), seconds=0.2)
            assert ok is False and "did not answer within 0.2 s" in said
        ok, said = await health.look(NotifyTable(smtp=f"127.0.0.1:{mail.port}"))
        assert ok is False and f"127.0.0.1:{mail.port} cannot be reached" in said
        assert await health.look(NotifyTable(ways=[])) == (
            True,
            "this site tells no news ([notify] ways is empty)",
        )

    asyncio.run(run())


def test_a_daemon_that_ends_for_good_tries_once_first(tmp_path: Path) -> None:
    hook = script(tmp_path, f"echo told >> {tmp_path}/told")

    async def run() -> None:
        async with telling(new_daemon(tmp_path)) as parts:
            (job,) = submit(parts, {"command": [hook]})
            ended(parts, job)
            await parts.outbox.first_tries(20)  # the outbox has not yet looked at that end
            assert (tmp_path / "told").read_text() == "told\n"
            assert history(parts, job) == [f"end told to the command {hook}"]

    asyncio.run(run())
