"""Tables in cells, not characters, in any encoding, on any terminal. Expected widths are Unicode's own."""

from __future__ import annotations

import codecs
import os
import pty
import struct
import subprocess
import sys
import termios
from fcntl import ioctl
from typing import Any

import pytest

from gpujobs.cli import cells, output, streams
from tests.unit.cli.conftest import ROOT, Cli, Protocol, job, member

LAB = "实验一：长短期记忆网络"
COMBINED = "e\u0301te\u0301-lstm"
EMOJI = "🚀-launch"
WIDTHS = {LAB: 22, COMBINED: 8, EMOJI: 9, "plain": 5, "한국어": 6, "ｗｉｄｅ": 8, "عربي": 4}
"""By East Asian Width: wide and fullwidth characters have two cells, combining ones none."""


@pytest.mark.parametrize("text", WIDTHS)
def test_a_text_has_the_cells_that_unicode_gives_it(text: str) -> None:
    assert cells.width(text) == WIDTHS[text]
    assert cells.width(cells.padded(text, 30)) == 30


@pytest.mark.parametrize("text", [*WIDTHS, LAB * 3, COMBINED * 5, EMOJI * 5, "a" * 50])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 12])
def test_what_is_too_long_fits_and_nothing_is_torn_apart(text: str, size: int) -> None:
    for short in (cells.cut(text, size), cells.shortened(text, size)):
        assert cells.width(short) <= size
        assert not short.startswith("\u0301") and "…\u0301" not in short


def test_names_keep_both_ends() -> None:
    assert cells.shortened("lstm-sweep-learning-rate-0.001", 13) == "lstm-s…-0.001"
    assert cells.shortened(LAB, 9) == "实验…网络"


def test_a_paragraph_without_spaces_is_broken_within_the_width() -> None:
    lines = cells.wrapped(LAB * 8 + " end", 40, "  ", "    ").split("\n")
    assert max(map(cells.width, lines)) <= 40 and "".join(map(str.strip, lines)) == LAB * 8 + " end"


def test_the_blank_between_two_words_has_a_cell_too() -> None:
    assert cells.wrapped("实验 实验 ab", 9, "", "") == "实验 实验\nab"
    assert cells.wrapped("实验 实验 ab", 8, "", "") == "实验\n实验 ab"


@pytest.mark.parametrize(
    ("text", "shown"), [("实", "??"), ("é", "e"), ("Ж", "?"), ("ｗ", "w"), ("→", ">"), ("a\u200b", "a")]
)
def test_what_an_encoding_lacks_is_as_wide_as_before(text: str, shown: str) -> None:
    codecs.register_error(streams.ERRORS, streams._simpler)
    assert text.encode("ascii", streams.ERRORS).decode() == shown


def column(line: str, words: str) -> int:
    return cells.width(line[: line.index(words)])


@pytest.mark.parametrize("columns", [80, 120])
def test_columns_stand_below_each_other(cli: Cli, server: Protocol, columns: int) -> None:
    for id, name in enumerate([*WIDTHS, LAB * 8, "x" * 150], 1):
        server.jobs[id] = job(id, name=name, reason="Resources", message="all GPUs are used " * 20)
    head, *lines = cli("status", COLUMNS=str(columns)).stdout.splitlines()
    assert {column(line, "PENDING") for line in lines} == {column(head, "STATE")}
    assert max(map(cells.width, lines)) == columns


def test_a_pipe_is_not_cut(cli: Cli, server: Protocol) -> None:
    name, message = "n" * 90, "m" * 300
    server.jobs[1] = job(1, name=name, reason="Resources", message=message)
    text = cli("status", COLUMNS="").stdout
    assert name in text and message in text


def test_names_that_are_shortened_can_be_told_apart(cli: Cli, server: Protocol) -> None:
    for id in range(1, 5):
        server.jobs[id] = job(id, name=f"a-long-common-beginning-of-the-name-{id}", message="m" * 90)
    shown = [line.split()[1] for line in cli("status").stdout.splitlines()[1:]]
    assert len(set(shown)) == 4 and all("…" in name for name in shown)


def test_jobs_of_a_sweep_are_called_by_their_setting(cli: Cli, server: Protocol) -> None:
    for id, rate in enumerate((0.1, 0.01), 1):
        sweep = {"training.optimizer.Adam.learning_rate": rate, "training.seed": 3}
        server.jobs[id] = member(id, 1, "rates", sweep)
    lines = cli("status", "--unfold", COLUMNS="120").stdout.splitlines()
    assert lines[2].split()[:3] == ["1", "learning_rate=0.1", "seed=3"]
    assert lines[3].split()[:3] == ["2", "learning_rate=0.01", "seed=3"]


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "cp1252", "koi8-r"])
@pytest.mark.parametrize("command", [("status",), ("show", 1), ("plot", 1), ("results",), ("logs", 1)])
def test_an_encoding_that_lacks_a_character_is_no_error(
    cli: Cli, server: Protocol, encoding: str, command: tuple[object, ...]
) -> None:
    server.jobs[1] = job(1, name=LAB + "ä", state="COMPLETED", reason="r", message="… → × ─ 🚀" * 20)
    server.histories[1] = "epoch,loss\n0,1.0\n1,0.5\n2,0.1\n"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "GPUJOBS_STATE_DIR": str(cli.directory)}
    done = subprocess.run(
        [sys.executable, "-m", "gpujobs", *map(str, command)],
        env=environment | {"PYTHONIOENCODING": encoding, "COLUMNS": "80"},
        capture_output=True,
        timeout=60,
        check=True,
    )
    text = done.stdout.decode(encoding)  # raises where it is something else
    assert text and b"Traceback" not in done.stderr
    assert encoding != "ascii" or done.stdout.isascii()


@pytest.mark.parametrize("columns", [80, 100, 200])
def test_times_are_not_cut_for_a_long_sentence(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    at = "2026-11-26 19:47:44 NDT"
    line = output.table(("N", "STARTED", "ENDED", "REASON"), [(1, at, at, "why " * 100)], flexible=3)[1]
    assert line.count(at) == 2 and cells.width(line) <= columns


def test_a_name_is_whole_where_half_of_the_line_is_left_to_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    name = "schedules-piecewise-constant"
    line = output.table(("NAME", "REASON"), [(name, "why " * 100)], flexible=1)[1]
    assert line.startswith(name) and cells.width(line) <= 120


def test_a_job_that_failed_with_progress_says_a_reason(cli: Cli, server: Protocol) -> None:
    server.jobs[1] = job(1, state="FAILED", reason="NaNLoss", progress={"epoch": 1, "epochs": 5})
    text = cli("show", 1).stdout
    assert "  reason " in text and "  progress " not in text


def on_terminal(cli: Cli, *arguments: object, columns: int = 80, **environ: str) -> str:
    leader, follower = pty.openpty()
    ioctl(follower, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
    clean = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "COLUMNS")}
    given = {"PYTHONPATH": str(ROOT), "GPUJOBS_STATE_DIR": str(cli.directory), "TERM": "xterm", **environ}
    process = subprocess.Popen(
        [sys.executable, "-m", "gpujobs", *map(str, arguments)],
        env=clean | given,
        stdout=follower,
        stderr=follower,
    )
    os.close(follower)
    written = b""
    try:
        while piece := os.read(leader, 4096):
            written += piece
    except OSError:  # how the end of a terminal reads
        pass
    os.close(leader)
    process.wait(60)
    return written.decode()


@pytest.mark.parametrize("command", [("status",), ("plot", 1), ("wait", 1), ("status", "--watch", 1)])
@pytest.mark.parametrize("environ", [{"TERM": "dumb"}, {"NO_COLOR": "1"}])
def test_a_terminal_without_colours_gets_none(
    cli: Cli, server: Protocol, command: tuple[object, ...], environ: dict[str, Any]
) -> None:
    server.jobs[1] = job(1, state="COMPLETED", ended_at="2026-01-01T00:00:00Z")
    server.histories[1] = "epoch,loss\n0,1.0\n1,0.5\n"
    text = on_terminal(cli, *command, **environ)
    assert "\x1b[3" not in text and "\x1b[1m" not in text
    assert environ != {"TERM": "dumb"} or "\x1b" not in text


@pytest.mark.parametrize("environ", [{"TERM": "dumb"}, {"NO_COLOR": "1"}])
def test_following_on_such_a_terminal(cli: Cli, server: Protocol, environ: dict[str, Any]) -> None:
    (cli.directory / "a.yaml").write_text("x: 1")
    server.outcome = {"state": "FAILED", "ended_at": "2026-01-01T00:01:00Z", "reason": "", "message": ""}
    text = on_terminal(cli, "run", str(cli.directory / "a.yaml"), **environ)
    assert "FAILED" in text and "\x1b[3" not in text and "m\x1b" not in text
    assert environ != {"TERM": "dumb"} or "\x1b" not in text
