"""`top` at two sizes, on a daemon that answers without Ray, driven as by hand."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyte
import pytest
from rich.cells import cell_len
from textual.pilot import Pilot
from textual.widgets import Input

from gpujobs.cli.commands.top import drawing
from gpujobs.config.settings import Settings
from gpujobs.daemon.build import Parts
from gpujobs.model import Caller, Device, DeviceKind, Node, NodeStatus, Process, State, utc_now
from gpujobs.top.app import Top
from gpujobs.top.queue import Queue
from tests.integration.served import Served
from tests.unit.store.jobs import DONE, having, new_job

SCREENS = Path(__file__).with_name("screens")
SMALL, MIDDLE, LARGE = (80, 24), (120, 40), (200, 50)
HOSTILE = "[red]x[/red][@click=app.quit]\u202e\x1b[31m" + "y" * 5000
ME = Caller(os.getuid(), os.getgid(), 1, "me")
ANN = Caller(ME.uid + 1000, ME.gid + 1000, 1, "ann")
GIB = 1 << 30
STRANGER = Process(4711, "eve", 3 * GIB, "python [bold]mine.py\x1b[2J")
LINES = ["epoch 1", "many words " * 40, "\x1b[31mred[/red]\x1b[0m", "10%\r100%", "the last line"]


def gpu(index: int, used: int, load: int, celsius: int, *processes: Process) -> Device:
    name = f"GPU-{index}"
    return Device(
        "box",
        DeviceKind.GPU,
        index,
        name,
        "Some H100",
        80 * GIB,
        used * GIB,
        load,
        celsius,
        processes=processes,
    )


DEVICES = (gpu(0, 40, 75, 61), gpu(1, 3, 5, 40, STRANGER), gpu(2, 0, 0, 30))


def with_devices(daemon: Parts) -> None:
    daemon.nodes._nodes = {"box": Node("box", NodeStatus.STARTING, "Ray is not up yet", DEVICES)}


def fill(daemon: Parts) -> None:
    """1 runs on GPU 0, 2 has ended with a log and a history, 3 waits and is hostile, 4 is ann's, 5 to 7 a sweep."""
    runs, ended, hostile = daemon.store.submit(
        ME, "a", [new_job("lstm-runs"), having(new_job("gru-ended"), data=()), new_job(HOSTILE)]
    )
    (anns,) = daemon.store.submit(ANN, "b", [new_job("anns-model", held=True)])
    sweep = daemon.store.submit(ME, "c", [having(new_job(f"s{n}"), group="sweep") for n in range(3)])
    attempt = daemon.store.start_attempt(1, DEVICES[0]).attempt
    daemon.cache.put(daemon.store.mark_running(1, attempt, os.getpid(), utc_now() - timedelta(seconds=90)))
    daemon.cache.set_progress(1, {"epoch": 3, "epochs": 20, "loss": 0.25, "eta_seconds": 70.0})
    for job in (hostile, anns, *sweep):
        daemon.cache.put(job)
    end(daemon, ended.id)
    assert runs.id == 1


def end(daemon: Parts, job: int) -> None:
    results = daemon.paths.result(job)
    results.mkdir(mode=0o700, parents=True)
    (results / "log.txt").write_text("".join(f"{line}\n" for line in LINES))
    curve = "".join(f"{epoch},{1 / (epoch + 1)},{2 / (epoch + 1)}\n" for epoch in range(20))
    (results / "history.csv").write_text(f"epoch,loss,val_loss\n{curve}")
    attempt = daemon.store.start_attempt(job, DEVICES[2]).attempt
    daemon.store.mark_completing(job, attempt, {"state": "COMPLETED", "exit": {"code": 0, "signal": None}})
    daemon.cache.put(daemon.store.finish(job, DONE, str(results)))


@pytest.fixture
def served(settings: Settings) -> Iterator[Served]:
    with Served(settings, with_devices) as served:
        served.on_loop(fill)
        yield served


@asynccontextmanager
async def looking(served: Served, size: tuple[int, int]) -> AsyncIterator[tuple[Top, Pilot[None]]]:
    app = Top(served.settings.socket, drawing())
    async with app.run_test(size=size) as pilot:
        await until(app, pilot, "lstm-runs")
        yield app, pilot


def screen(app: Top) -> list[str]:
    """What a terminal shows."""
    return [strip.text.rstrip() for strip in app.screen._compositor.render_strips()]


async def at_rest(app: Top, pilot: Pilot[None]) -> list[str]:
    """The screen once it stays: what comes late gives the log and the curve other widths."""
    shown, since = screen(app), 0
    while since < 10:
        await pilot.pause(0.05)
        since = since + 1 if screen(app) == shown else 0
        shown = screen(app)
    return shown


async def until(app: Top, pilot: Pilot[None], *texts: str) -> str:
    """The screen once it has all of these."""
    for _ in range(400):
        await pilot.pause(0.02)
        shown = "\n".join(screen(app))
        if all(text in shown for text in texts):
            return shown
    raise AssertionError(f"{texts} did not come:\n{shown}")


async def without(app: Top, pilot: Pilot[None], *texts: str) -> None:
    for _ in range(400):
        shown = "\n".join(screen(app))
        if not any(text in shown for text in texts):
            return
        await pilot.pause(0.02)
    raise AssertionError(f"{texts} stayed:\n{shown}")


async def typed(pilot: Pilot[None], text: str) -> None:
    """As a filter, in place of the one that is there."""
    await pilot.press("slash")
    pilot.app.query_one("#filter", Input).value = text
    await pilot.press("enter")


async def at(app: Top, pilot: Pilot[None], key: str) -> None:
    """With the cursor on this row."""
    queue = app.query_one(Queue)
    await pilot.press("home")
    for _ in range(20):
        if queue.selected is not None and queue.selected.key == key:
            return
        await pilot.press("down")
    raise AssertionError(key)


def state(served: Served, job: int) -> tuple[State, bool]:
    found = served.on_loop(lambda daemon: daemon.store.job(job))
    return found.state, found.held


def driven(
    served: Served, drive: Callable[[Top, Pilot[None]], Awaitable[None]], size: tuple[int, int] = SMALL
) -> None:
    async def run() -> None:
        async with looking(served, size) as (app, pilot):
            await drive(app, pilot)

    asyncio.run(run())


def as_kept(lines: list[str]) -> str:
    """Without how long anything takes here."""
    return "".join(re.sub(r"\d:\d\d$", "0:00", line) + "\n" for line in lines)


def require_kept(name: str, size: tuple[int, int], shown: list[str]) -> None:
    """That the screen is the kept one, which GPUJOBS_RENEW_SCREENS=1 writes anew, to be looked at."""
    kept = SCREENS / f"{name}-{size[0]}x{size[1]}.txt"
    if os.environ.get("GPUJOBS_RENEW_SCREENS"):
        kept.write_text(as_kept(shown), encoding="utf-8")
    assert len(shown) == size[1] and max(map(cell_len, shown)) <= size[0]
    assert as_kept(shown) == kept.read_text(encoding="utf-8")


@pytest.mark.parametrize("size", [SMALL, MIDDLE, LARGE], ids=["80x24", "120x40", "200x50"])
def test_the_screen_is_the_kept_one_with_devices_queue_log_and_curve(
    served: Served, size: tuple[int, int]
) -> None:
    shown: list[str] = []

    async def look(app: Top, pilot: Pilot[None]) -> None:
        await at(app, pilot, "j2")
        await until(app, pilot, "the last line", "loss (dashed: val_loss)")
        shown.extend(await at_rest(app, pilot))

    driven(served, look, size)
    require_kept("top", size, shown)


NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
AWAY = Device("box3", DeviceKind.GPU, 0, "GPU-box3-0", "Some H100", 80 * GIB, fault="its box is away")


def with_three_nodes(daemon: Parts) -> None:
    slots = tuple(
        Device("box2", DeviceKind.CPU, index, f"CPU-box2-{index}", "Some Xeon") for index in range(2)
    )
    why = "away since 2026-01-05 12:00 UTC: it does not answer; what runs there goes on"
    daemon.nodes._nodes = {
        "box": Node("box", NodeStatus.STARTING, "Ray is not up yet", DEVICES),
        "box2": Node("box2", NodeStatus.STARTING, "2 CPU slots", slots),
        "box3": Node("box3", NodeStatus.DOWN, why, (AWAY, replace(AWAY, index=1, uuid="GPU-box3-1")), NOON),
    }


@pytest.fixture
def served_at_three(settings: Settings) -> Iterator[Served]:
    """One of which is away, with a job that was at its third epoch."""

    def work(daemon: Parts) -> None:
        fill(daemon)
        (job,) = daemon.store.submit(ME, "d", [new_job("far-away")])
        attempt = daemon.store.start_attempt(job.id, AWAY).attempt
        daemon.cache.put(daemon.store.mark_running(job.id, attempt, 99, utc_now() - timedelta(seconds=90)))
        daemon.cache.set_progress(job.id, {"epoch": 3, "epochs": 20, "loss": 0.25})
        daemon.cache.set_away("box3", NOON)

    with Served(settings, with_three_nodes) as served:
        served.on_loop(work)
        yield served


@pytest.mark.parametrize("size", [SMALL, MIDDLE], ids=["80x24", "120x40"])
def test_devices_are_shown_by_node_where_there_are_several(
    served_at_three: Served, size: tuple[int, int]
) -> None:
    shown: list[str] = []

    async def look(app: Top, pilot: Pilot[None]) -> None:
        await at(app, pilot, "j8")
        await until(app, pilot, "RUNNING: away since")
        shown.extend(await at_rest(app, pilot))

    driven(served_at_three, look, size)
    require_kept("top-nodes", size, shown)


def test_a_running_job_has_a_live_curve(served: Served) -> None:
    async def look(app: Top, pilot: Pilot[None]) -> None:
        await at(app, pilot, "j1")
        await until(app, pilot, "epoch 3/20", "0.25")
        served.on_loop(lambda daemon: daemon.cache.set_progress(1, {"epoch": 4, "epochs": 20, "loss": 0.125}))
        await until(app, pilot, "epoch 4/20", "0.125 ┤")

    driven(served, look)


def test_a_filter_chooses_and_a_wrong_one_says_what_is_right(served: Served) -> None:
    async def look(app: Top, pilot: Pilot[None]) -> None:
        for text, there, gone in (
            ("mine", "lstm-runs", "anns-model"),
            ("user=ann", "anns-model", "lstm-runs"),
            ("state=running", "lstm-runs", "anns-model"),
            ("name=anns-*", "anns-model", "sweep"),
            ("runs", "lstm-runs", "anns-model"),
        ):
            await typed(pilot, text)
            await until(app, pilot, there, f"filter: {text}")
            await without(app, pilot, gone)
        await typed(pilot, "state=SLEEPING")
        await until(app, pilot, "there is no state SLEEPING; expected one of")
        await pilot.press("escape")
        await until(app, pilot, "anns-model", "sweep")

    driven(served, look)


def test_keys_change_jobs_and_cancelling_asks_first(served: Served) -> None:
    async def act(app: Top, pilot: Pilot[None]) -> None:
        await at(app, pilot, "j3")
        await pilot.press("h")
        await until(app, pilot, "hold: job 3 PENDING")
        assert state(served, 3) == (State.PENDING, True)
        await pilot.press("r")
        await until(app, pilot, "release: job 3 PENDING")
        assert state(served, 3) == (State.PENDING, False)
        await pilot.press("c")
        await until(app, pilot, "cancel job 3", "y: yes")
        await pilot.press("n")
        await pilot.press("c", "y")
        await until(app, pilot, "cancel: job 3 CANCELLED")
        await at(app, pilot, "g5")
        await pilot.press("c")
        await until(app, pilot, "cancel 3 jobs of g5 (sweep) of me?")
        await pilot.press("enter")
        assert app.screen is app.query_one(Queue).screen, "it is answered with no"
        await pilot.press("h")
        await until(app, pilot, "hold: job 5 PENDING", "job 7 PENDING")
        await at(app, pilot, "j2")
        await pilot.press("R")
        await until(app, pilot, "requeue: job 8 PENDING")

    driven(served, act)
    assert [state(served, job) for job in (3, 5, 7, 8)] == [
        (State.CANCELLED, False),
        (State.PENDING, True),
        (State.PENDING, True),
        (State.PENDING, False),
    ]


@pytest.mark.parametrize("size", [(10, 3), (30, 8), (60, 16)], ids=["10x3", "30x8", "60x16"])
def test_a_terminal_that_is_too_small_is_endured(served: Served, size: tuple[int, int]) -> None:
    async def look(app: Top, pilot: Pilot[None]) -> None:
        await pilot.resize_terminal(*size)
        await without(app, pilot, "R requeue  l log")
        shown = await until(app, pilot, "gpu 0")
        assert len(shown.split("\n")) == size[1]
        await pilot.resize_terminal(*SMALL)
        await until(app, pilot, "q quit", "lstm-runs")

    driven(served, look)


def test_help_whole_log_and_time_line_are_shown_and_left(served: Served) -> None:
    async def look(app: Top, pilot: Pilot[None]) -> None:
        await pilot.press("question_mark")
        await until(app, pilot, "requeue: back to the queue")
        await pilot.press("q")
        await at(app, pilot, "j2")
        await until(app, pilot, "the last line")
        await pilot.press("l")
        shown = await until(app, pilot, "log of job 2, attempt 1", "the last line")
        assert "gru-ended" not in shown and "?[31mred[/red]?[0m" in shown
        await pilot.press("q")
        await pilot.press("t")
        await until(app, pilot, "█ running", "gpu 1")
        await pilot.press("t")
        await until(app, pilot, "the last line")

    driven(served, look)


def test_hostile_names_steer_nothing_wherever_they_are_shown(served: Served) -> None:
    async def look(app: Top, pilot: Pilot[None]) -> None:
        await at(app, pilot, "j3")
        seen = [await until(app, pilot, "job 3 [red]x")]
        await pilot.press("c")
        seen.append(await until(app, pilot, "cancel job 3 ([red]x"))
        await pilot.press("n", "l")
        seen.append(await until(app, pilot, "log of job 3"))
        assert all(line.isprintable() for text in seen for line in text.split("\n"))

    driven(served, look)


def test_a_daemon_that_restarts_is_missed_and_found_again(settings: Settings) -> None:
    with Served(settings, with_devices) as served:
        served.on_loop(fill)

        async def look(app: Top, pilot: Pilot[None]) -> None:
            await asyncio.to_thread(served.__exit__)
            await until(app, pilot, "NO DAEMON", "this is as it was at", "lstm-runs")
            await asyncio.to_thread(served.__enter__)
            served.on_loop(
                lambda daemon: daemon.cache.put(daemon.store.submit(ME, "d", [new_job("newer")])[0])
            )
            await until(app, pilot, "newer")
            await without(app, pilot, "NO DAEMON", "as it was at")

        driven(served, look)


def typed_command(*arguments: str) -> list[str]:
    return [str(Path(sys.executable).with_name("gpujobs")), *arguments]


def test_without_a_terminal_the_error_names_the_command_for_pipes(served: Served) -> None:
    command = typed_command("--socket", str(served.settings.socket), "top")
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1 and "gpujobs status --watch" in done.stderr


def test_without_a_daemon_it_ends_as_every_command_does(tmp_path: Path) -> None:
    code, written, _ = in_terminal(SMALL, ["--socket", str(tmp_path / "none"), "top"])
    assert code == 3 and "no daemon answers at" in written and "\x1b[?1049h" not in written


def test_other_commands_do_not_load_textual() -> None:
    program = (
        "import sys; from gpujobs.cli.app import COMMANDS; from gpujobs.cli.main import cli\n"
        "for name in COMMANDS: cli.get_command(None, name)\n"
        "assert not {'textual', 'rich'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "200x50"])
def test_a_terminal_is_as_it_was_after_a_signal(served: Served, size: tuple[int, int]) -> None:
    code, written, is_same = in_terminal(
        size, ["--socket", str(served.settings.socket), "top"], until_shown="lstm-runs"
    )
    assert code == 128 + signal.SIGTERM and is_same, "modes of the line"
    shown = pyte.Screen(*size)
    pyte.Stream(shown).feed(written.partition("\x1b[?1049l")[0])
    assert any("lstm-runs" in line for line in shown.display) and "q quit  ? help" in shown.display[-1]
    for on, off in MODES:
        assert written.count(on) == 0 or written.rindex(off) > written.rindex(on), on
    assert not COLOURS.search(written), "NO_COLOR"


def test_it_ends_with_its_terminal_though_no_signal_tells_it(served: Served) -> None:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color"}
    with subprocess.Popen(
        typed_command("--socket", str(served.settings.socket), "top"),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        written = b""
        while b"lstm-runs" not in written:
            written += os.read(ours, 1 << 16)
        os.close(ours)
        try:
            assert process.wait(20) == 128 + signal.SIGHUP
        finally:
            process.kill()


MODES = [(f"\x1b[?{mode}h", f"\x1b[?{mode}l") for mode in (1049, 1000, 1003, 1015, 1006, 1004, 2004)] + [
    ("\x1b[?25l", "\x1b[?25h"),
    ("\x1b[>1u", "\x1b[<u"),
]
COLOURS = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])(?:;\d+)*m")


def in_terminal(size: tuple[int, int], arguments: list[str], until_shown: str = "") -> tuple[int, str, bool]:
    """Ends it by SIGTERM once that is shown: the exit code, all that was written, and whether the modes of the
    terminal are the same afterwards."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
    before, written, is_told = termios.tcgetattr(theirs), b"", False
    environment = {**os.environ, "TERM": "xterm-256color", "NO_COLOR": "1"}
    for name in ("COLUMNS", "LINES"):
        environment.pop(name, None)
    with subprocess.Popen(
        typed_command(*arguments),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
        start_new_session=True,
    ) as process:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if select.select([ours], [], [], 0.1)[0]:
                written += os.read(ours, 1 << 16)
            elif process.poll() is not None:
                break
            if until_shown and not is_told and until_shown.encode() in written:
                process.terminate()
                is_told = True
        process.kill()
    is_same = termios.tcgetattr(theirs) == before
    os.close(ours)
    os.close(theirs)
    return process.returncode, written.decode(), is_same
