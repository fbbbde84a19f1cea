"""`gpujobs tensorboard`: what is to be seen through TensorBoard's own interface, by whom, and what is left of it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from gpujobs.cli import board
from gpujobs.cli.boardserver import do_without_tensorflow
from gpujobs.cli.choosing import Selection
from gpujobs.client import connect
from gpujobs.config.settings import Settings
from gpujobs.daemon.build import Parts
from gpujobs.model import Caller
from gpujobs.trainer.tensorboard import write_scalars
from tests.acceptance.conftest import as_root as as_root
from tests.acceptance.conftest import bob as bob
from tests.acceptance.conftest import place as place
from tests.acceptance.harness import eventually
from tests.acceptance.people import Person, as_person
from tests.integration.served import Served
from tests.unit.cli.conftest import Cli, Protocol, job
from tests.unit.cli.conftest import cli as cli
from tests.unit.cli.conftest import server as server
from tests.unit.cli.rows import RUNNING, ended
from tests.unit.store.jobs import DEVICE, DONE, having, new_job

ME = Caller(os.getuid(), os.getgid(), 1, "me")
OTHER = Caller(ME.uid + 1000, ME.gid + 1000, 1, "ann")
LOSSES = [1.0, 0.5, 0.25]
HOSTILE = "a/../../b<script>\u202e\x1b[31m" + "x" * 10_000


def fill(daemon: Parts) -> None:
    """1 and 2 are a sweep, 3 has a hostile name, 4 is another's; 1 and 3 have event files, 2 only a history."""
    store, sweep = daemon.store, [having(new_job(f"s-{n}"), group="sweep", data=()) for n in (1, 2)]
    values = [replace(one, sweep_values={"layers.0.LSTM.units": 32 * n}) for n, one in enumerate(sweep, 1)]
    store.submit(ME, "a", values)
    store.submit(ME, "b", [having(new_job(HOSTILE), data=())])
    store.submit(OTHER, "c", [having(new_job("anns"), data=())])
    for number in (1, 2, 3, 4):
        results = daemon.paths.result(number)
        results.mkdir(parents=True, mode=0o700)
        rows = [{"epoch": epoch, "loss": number * loss} for epoch, loss in enumerate(LOSSES)]
        if number == 2:
            lines = "".join(f"{row['epoch']},{row['loss']}\n" for row in rows)
            (results / "history.csv").write_text(f"epoch,loss\n{lines}")
        else:
            write_scalars(results / "tensorboard", rows)
        attempt = store.start_attempt(number, DEVICE).attempt
        store.mark_completing(number, attempt, {"state": "COMPLETED", "exit": {"code": 0, "signal": None}})
        daemon.cache.put(store.finish(number, DONE, str(results)))


@contextmanager
def shown(root: Path, *options: object) -> Iterator[str]:
    """The address, while it is served; then it is interrupted, as by Ctrl-C, and leaves nothing."""
    place = root / "tmp"
    place.mkdir()
    command = [sys.executable, "-m", "gpujobs", *map(str, options), "--no-browser"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(place)},
    )
    assert process.stdout is not None and process.stderr is not None
    try:
        address = process.stdout.readline().strip()
        assert address, process.stderr.read()
        secret = urlsplit(address).path.strip("/")
        for who in ("cmdline", "environ"):
            assert secret not in Path(f"/proc/{process.pid}/{who}").read_text(), "ps shows it to all"
        assert listening(process.pid) == 1, "no second port, which nobody guards"
        yield address
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert not list(place.iterdir())
    finally:
        process.kill()
        process.communicate()


def listening(pid: int) -> int:
    """TCP sockets on which a process listens, by the kernel's tables."""
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        target = str(descriptor.readlink())
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    rows = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()
    ]
    return sum(row[3] == "0A" and row[9] in inodes for row in rows[1:])


def asked(address: str, path: str) -> tuple[int, Any]:
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=20)
    connection.request("GET", parts.path + path)
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, json.loads(body) if answer.status == 200 else body


def is_hung_up_on(address: str) -> bool:
    """Whether a connection on which nothing is said ends at once."""
    parts = urlsplit(address)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=5) as connection:
        return connection.recv(1) == b""


def runs(address: str) -> list[str]:
    found: list[str] = asked(address, "data/runs")[1]
    return found


def test_runs_are_named_by_job_and_setting_and_nobody_else_may_look(
    root: Path, settings: Settings, bob: Person
) -> None:
    with Served(settings) as served:
        served.on_loop(fill)
        with shown(root, "--socket", settings.socket, "tensorboard", "g1", "--user", "me") as address:
            eventually(lambda: len(runs(address)) == 2, 20)
            assert runs(address) == ["1 sweep units=32", "2 sweep units=64"]
            for number, run in enumerate(runs(address), 1):
                _, scalars = asked(address, f"data/plugin/scalars/scalars?tag=epoch_loss&run={quote(run)}")
                steps = [(step, value) for _, step, value in scalars]
                assert steps == [(epoch, number * loss) for epoch, loss in enumerate(LOSSES)]
            assert asked(f"http://{urlsplit(address).netloc}/", "data/runs")[0] == 404, (
                "without the secret there is nothing"
            )
            assert as_person(bob, lambda: is_hung_up_on(address)) is True, "before he has asked for anything"
            assert len(runs(address)) == 2


def test_without_a_daemon_ones_own_ended_jobs_are_there(root: Path, settings: Settings) -> None:
    with Served(settings) as served:
        served.on_loop(fill)
    with shown(
        root, "--state-dir", settings.state_dir, "--config", settings.config, "tensorboard"
    ) as address:
        eventually(lambda: len(runs(address)) == 3, 20)
        first, second, hostile = sorted(runs(address))
        assert (first, second) == ("1 sweep units=32", "2 sweep units=64"), "not another's"
        assert hostile.startswith("3 a_.._.._b<script>??[31mxxx") and len(hostile.encode()) <= 200


def losses(directory: Path) -> list[tuple[int, float]]:
    """As TensorBoard reads them."""
    do_without_tensorflow()
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(directory))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars("epoch_loss")]


def history(*losses: float) -> str:
    return "epoch,loss\n" + "".join(f"{epoch},{loss}\n" for epoch, loss in enumerate(losses))


def test_what_runs_is_followed_to_its_end_and_begins_anew_where_the_job_does(
    server: Protocol, tmp_path: Path
) -> None:
    server.jobs = {7: job(7, **{**RUNNING, "attempt": 1}), 8: job(8, attempt=1, state="RUNNING")}
    server.histories = {7: history(1.0, 0.5), 8: None}
    client = connect([tmp_path / "gpujobs.sock"])
    made = board.make(client, Selection((7, 8)), tmp_path)
    assert (made.runs, sorted(made.live)) == (2, [7, 8])
    assert losses(tmp_path / "runs/7 job-7") == [(0, 1.0), (1, 0.5)]
    server.histories = {7: history(1.0, 0.5, 0.25), 8: history(4.0)}
    server.changes = [{"progress": {"epoch": 3}}]
    board.follow(client, made)
    assert losses(tmp_path / "runs/7 job-7") == [(0, 1.0), (1, 0.5), (2, 0.25)]
    assert losses(tmp_path / "runs/8 job-8") == [(0, 4.0)]
    server.histories[7] = history(3.0)
    server.changes = [ended()]
    board.follow(client, made)
    assert losses(tmp_path / "runs/7 job-7") == [(0, 3.0)]
    client.close()


def test_a_value_that_is_no_number_does_not_begin_a_run_anew(server: Protocol, tmp_path: Path) -> None:
    server.jobs = {7: job(7, **{**RUNNING, "attempt": 1})}
    server.histories = {7: history(1.0, float("nan"))}
    client = connect([tmp_path / "gpujobs.sock"])
    made = board.make(client, Selection((7,)), tmp_path)
    before = made.live[7].file
    assert before is not None
    at_first = before.read_bytes()
    server.histories = {7: history(1.0, float("nan"), 0.25)}
    server.changes = [{"progress": {"epoch": 3}}]
    board.follow(client, made)
    client.close()
    assert before.read_bytes().startswith(at_first), "it has grown"
    assert [step for step, _ in losses(tmp_path / "runs/7 job-7")] == [0, 1, 2]


def test_of_ones_own_jobs_the_newest_are_shown(server: Protocol, tmp_path: Path) -> None:
    server.jobs = {n: job(n, attempt=1, results="/r", **ended()) for n in range(1, 131)}
    server.histories = {n: history(1.0) for n in range(1, 131)}
    client = connect([tmp_path / "gpujobs.sock"])
    made = board.make(client, Selection(), tmp_path)
    client.close()
    assert (made.runs, made.of) == (100, 130)
    assert (tmp_path / "runs/130 job-130").is_dir() and not (tmp_path / "runs/30 job-30").exists()


def test_a_daemon_that_does_not_answer_as_it_should_is_no_lack_of_curves(cli: Cli, server: Protocol) -> None:
    server.jobs = {7: job(7, attempt=1, results="/r", **ended())}
    server.refusals = {("GET", "/v1/results"): (500, {"code": "protocol", "message": "not today"})}
    done = cli("tensorboard", 7)
    assert (done.returncode, done.stdout) == (3, "")
    assert "not today" in done.stderr and "learning curve" not in done.stderr


def test_a_job_that_has_nothing_yet_and_a_machine_without_tensorboard_are_told_so(
    cli: Cli, server: Protocol
) -> None:
    server.jobs = {7: job(7)}
    done = cli("tensorboard", 7)
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr
        == "gpujobs: no job of 7 has a learning curve yet; `gpujobs status --all` shows how they do\n"
    )
    (cli.directory / "sitecustomize.py").write_text("import sys\nsys.modules['tensorboard'] = None\n")
    path = f"{cli.directory}:{Path(board.__file__).parents[2]}"
    done = cli("tensorboard", 7, PYTHONPATH=path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (4, "", 1)
    assert "-m pip install tensorboard` adds it" in done.stderr and "`gpujobs plot` draws" in done.stderr
