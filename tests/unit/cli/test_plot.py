"""`gpujobs plot`: curves as JSON, in the terminal and as pictures, against a server that answers by the protocol."""

from __future__ import annotations

import json
import math
import os
import pty
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import click
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imread

from gpujobs.cli import braille, curves
from gpujobs.errors import UsageError
from gpujobs.results.curves import JobHistory, panels, parsed
from gpujobs.results.pictures import curves as picture
from gpujobs.results.pictures import style
from gpujobs.results.pictures.canvas import Canvas, measured
from gpujobs.results.pictures.frames import Place, arrange
from tests.unit.cli.conftest import ROOT, Cli, Protocol, job
from tests.unit.cli.rows import ended
from tests.unit.cli.sweeps import sweep

TWO = "epoch,accuracy,loss,val_loss\n0,0.25,1.5,2.0\n1,0.5,1.0,nan\n2,0.75,0.5,1.25\n"
OTHER = "epoch,loss,mae\n0,3.0,0.1\n1,2.0,0.2\n"
COMPLETED = ended()


@pytest.fixture
def jobs(server: Protocol) -> Protocol:
    server.jobs = {7: job(7, name="first", **COMPLETED), 8: job(8, name="$x_$ \x1b[2J", **COMPLETED)}
    server.histories = {7: TWO, 8: OTHER}
    return server


def test_json_has_the_columns_of_the_file_and_null_for_nan(cli: Cli, jobs: Protocol) -> None:
    assert json.loads(cli("plot", 7, 8, 7, "--json").stdout) == [
        {
            "id": 7,
            "name": "first",
            "history": {
                "epoch": [0, 1, 2], "accuracy": [0.25, 0.5, 0.75], "loss": [1.5, 1.0, 0.5],
                "val_loss": [2.0, None, 1.25],
            },
        },
        {
            "id": 8,
            "name": "$x_$ \x1b[2J",
            "history": {"epoch": [0, 1], "loss": [3.0, 2.0], "mae": [0.1, 0.2]},
        },
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "columns"),
    [
        (("--metric", "loss"), ["epoch", "loss", "val_loss"]),
        (("--metric", "val_loss"), ["epoch", "val_loss"]),
        (("--metric", "accuracy", "--metric", "val_loss"), ["epoch", "accuracy", "val_loss"]),
    ],
)
def test_a_metric_restricts(cli: Cli, jobs: Protocol, arguments: tuple[str, ...], columns: list[str]) -> None:
    (entry,) = json.loads(cli("plot", 7, "--json", *arguments).stdout)
    assert list(entry["history"]) == columns


def test_an_unknown_metric_lists_those_there_are(cli: Cli, jobs: Protocol) -> None:
    done = cli("plot", 7, 8, "--metric", "los")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == ("gpujobs: there is no metric los; expected one of accuracy, loss, mae, val_loss\n")


def test_a_metric_that_one_job_has_is_drawn_for_that_one(cli: Cli, jobs: Protocol) -> None:
    done = cli("plot", 7, 8, "--metric", "mae", "--output", "a.png")
    assert (done.returncode, done.stdout) == (0, "a.png: 8 $x_$ ?[2J, 2 epochs\n")


def test_a_job_without_results_is_the_daemons_error(cli: Cli, jobs: Protocol) -> None:
    jobs.histories[7] = None
    jobs.jobs[7]["state"] = "RUNNING"
    done = cli("plot", 8, 7)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "gpujobs: job 7 is RUNNING and has no results; `gpujobs wait 7` waits for them\n"


def test_a_job_that_trained_nothing(cli: Cli, jobs: Protocol) -> None:
    del jobs.histories[7]
    done = cli("plot", 8, 7)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "job 7 has no history.csv" in done.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no column epoch"),
        ("epoch\n0\n", "has no column epoch with others beside it"),
        ("epoch,loss\n", "has no epoch"),
        ("epoch,loss\nx,1\n", "has an epoch that is no number"),
        (f"epoch,loss\n0,{'1' * 200_000}\n", "field larger than field limit"),
    ],
)
def test_a_file_that_is_no_history(cli: Cli, jobs: Protocol, text: str, said: str) -> None:
    jobs.histories[7] = text
    done = cli("plot", 7)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("gpujobs: history.csv of job 7 ") and said in done.stderr


def test_of_a_group_those_with_curves(cli: Cli, server: Protocol) -> None:
    sweep(server, "COMPLETED", "RUNNING", "COMPLETED")
    server.histories = {1: TWO, 2: None, 3: OTHER}
    for name in ("g1", "sweep"):
        assert [one["id"] for one in json.loads(cli("plot", name, "--json").stdout)] == [1, 3]
    server.histories = {1: None, 2: None, 3: None}
    done = cli("plot", "sweep")
    assert (done.returncode, "no job of sweep has a history.csv yet" in done.stderr) == (2, True)
    assert cli("plot", "g9").stderr == "gpujobs: group g9 does not exist\n"


def test_the_terminal_is_80_columns_without_colour(cli: Cli, jobs: Protocol) -> None:
    done = cli("plot", 7, 8)
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and max(map(len, lines)) == 80
    titles = [line for line in lines if line and "│" not in line and "┤" not in line and line[0] != " "]
    assert titles == ["loss (dashed: val_loss)", "accuracy", "mae", "a 7 first      b 8 $x_$ ?[2J"]
    assert "\x1b" not in done.stdout
    assert cli("plot", 7).stdout.splitlines()[0] == "7 first, 3 epochs"


@pytest.mark.parametrize(("environment", "is_coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_a_terminal_gets_colour_and_its_own_width(
    cli: Cli, jobs: Protocol, environment: dict[str, str], is_coloured: bool
) -> None:
    text = in_terminal(cli, 120, environment)
    assert (braille.styled("a", 0) in text, "\x1b" in text) == (is_coloured, is_coloured)
    assert max(len(click.unstyle(line)) for line in text.splitlines()) == 120


def in_terminal(cli: Cli, columns: int, environment: dict[str, str]) -> str:
    leader, follower = pty.openpty()
    clean = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "COLUMNS")}
    paths = {"PYTHONPATH": str(ROOT), "GPUJOBS_STATE_DIR": str(cli.directory), "COLUMNS": str(columns)}
    process = subprocess.Popen(
        [sys.executable, "-m", "gpujobs", "plot", "7", "8"], env=clean | paths | environment, stdout=follower
    )
    os.close(follower)
    written = b""
    try:
        while piece := os.read(leader, 4096):
            written += piece
    except OSError:  # how the end of a terminal reads
        pass
    os.close(leader)
    assert process.wait(60) == 0
    return written.decode()


def dots(rows: list[str]) -> set[tuple[int, int]]:
    """Of the drawing's braille characters, by column and row of dots from the upper left corner."""
    found = set()
    for row, line in enumerate(rows):
        for column, text in enumerate(line):
            bits = ord(text) - 0x2800 if "⠀" <= text <= "⣿" else 0
            found |= {
                (2 * column + right, 4 * row + below)
                for below, pair in enumerate(braille.DOTS)
                for right, bit in enumerate(pair)
                if bits & bit
            }
    return found


def drawn(values: str, **more: Any) -> list[str]:
    rows = "".join(f"{epoch},{value}\n" for epoch, value in enumerate(values.split()))
    (panel,) = panels([JobHistory(1, "a", parsed(f"epoch,{more.get('name', 'loss')}\n{rows}"))])
    return braille.lines(panel, 1, 30, colour=False)


def width_of(lines: list[str]) -> int:
    return 2 * lines[-2].count("─")


def inside(lines: list[str]) -> list[str]:
    return [line[line.index("┤" if "┤" in line else "│") + 1 :] for line in lines[1 : 1 + braille.ROWS]]


def test_a_straight_line_is_a_diagonal_of_dots() -> None:
    lines = drawn("0 1")
    found, width = dots(inside(lines)), width_of(lines)
    assert max(map(len, lines)) == 30
    assert {x for x, _ in found} == set(range(width)) and {y for _, y in found} == set(range(40))
    assert all(abs(y - (39 - x * 39 / (width - 1))) <= 0.75 for x, y in found)


def test_dashes_and_gaps() -> None:
    solid = dots(inside(drawn("0 1")))
    dashed = dots(inside(drawn("0 1", name="val_loss")))
    assert dashed < solid and 0.4 < len(dashed) / len(solid) < 0.6
    lines = drawn("0 0.5 nan nan 0.5 1")
    gap, width = {x for x, _ in dots(inside(lines))}, width_of(lines)
    assert gap == {x for x in range(width) if not (width - 1) / 5 + 0.5 < x < (width - 1) * 4 / 5 - 0.5}


def test_a_value_alone_is_seen() -> None:
    assert "".join(inside(drawn("0.5"))).strip() == "⣿"
    assert "".join(inside(drawn("0.5", name="val_loss"))).strip() == "⠶"
    assert "".join(inside(drawn("0 1 nan 1 nan inf"))).count("⣿") == 1
    assert drawn("nan")[1] == "  no finite value"


def test_the_axes_say_what_is_drawn() -> None:
    lines = drawn("0.5 2 1")
    assert lines[1].lstrip().startswith("2 ┤") and lines[braille.ROWS].lstrip().startswith("0.5 ┤")
    assert lines[-1].split() == ["1", "epoch", "3"], "counted from 1, as status does"
    lines = drawn("10000 1 0.1")
    assert lines[0] == "loss, logarithmic"
    assert lines[1].startswith("1e+04 ┤") and lines[braille.ROWS].startswith("  0.1 ┤")
    assert "logarithmic" not in drawn("10000 0 0.1")[0]


def test_the_unit_is_that_of_losses_and_errors_and_of_whom_it_is_where_they_differ() -> None:
    """A share of what was right has none."""
    columns = {name: [0.0, 1.0] for name in ("epoch", "accuracy", "mae", "val_mae")}

    def titles(*units: str) -> list[str]:
        return [one.title() for one in panels([JobHistory(1, "a", columns, unit) for unit in units])]

    assert titles("") == titles("", "") == ["accuracy", "mae (dashed: val_mae)"]
    assert titles("kW") == ["accuracy", "mae, of kW (dashed: val_mae)"]
    assert titles("kW", "") == ["accuracy", "mae, of kW or the data's own (dashed: val_mae)"]


def test_an_axis_is_logarithmic_from_more_than_a_factor_of_a_thousand_on() -> None:
    def is_log(low: float, high: float) -> bool:
        (panel,) = panels([JobHistory(1, "a", {"epoch": [0.0, 1.0], "loss": [low, high]})])
        return panel.is_log()

    assert is_log(1, 1001) and not any((is_log(1, 1000), is_log(0, 1001), is_log(-1, 5000)))


@dataclass
class Drawn:
    """What a picture consists of, in pixels from the lower left corner."""

    size: tuple[float, float]
    panels: list[Place]
    words: dict[str, tuple[float, float]]
    lines: list[tuple[list[float], list[float], dict[str, Any]]]

    def of(self, panel: Place) -> list[tuple[list[float], list[float], dict[str, Any]]]:
        """The lines in it, in values, by its edges alone."""
        left, bottom, right, top = panel.box
        x, y = panel.frame.x, panel.frame.y
        return [
            (
                [x.low + (one - left) / (right - left) * (x.high - x.low) for one in across],
                [y.low + (one - bottom) / (top - bottom) * (y.high - y.low) for one in up],
                look,
            )
            for across, up, look in self.lines
            if left <= across[0] <= right and not top < np.nanmean(up) and not np.nanmean(up) < bottom
        ]


def drawn_of(histories: list[JobHistory], monkeypatch: pytest.MonkeyPatch) -> Drawn:
    words: dict[str, tuple[float, float]] = {}
    lines: list[Any] = []
    places: list[Place] = []
    line, text = Canvas.line, Canvas.text
    size = [0.0, 0.0]

    def line_too(canvas: Canvas, x: Any, y: Any, **look: Any) -> None:
        lines.append((list(x), list(y), look))
        line(canvas, x, y, **look)

    def text_too(canvas: Canvas, at: Any, word: str, *rest: Any, **more: Any) -> None:
        words[word], size[:] = at, [canvas.wide, canvas.high]
        text(canvas, at, word, *rest, **more)

    monkeypatch.setattr(Canvas, "line", line_too)
    monkeypatch.setattr(Canvas, "text", text_too)
    monkeypatch.setattr(
        picture, "arrange", lambda *all, **more: (places.extend(arrange(*all, **more)), places)[1]
    )
    picture.png(histories, panels(histories))
    return Drawn((size[0], size[1]), places, words, lines)


def test_a_picture_has_the_numbers_of_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    histories = [JobHistory(7, "first", parsed(TWO)), JobHistory(8, "$x_$", parsed(OTHER))]
    drawn = drawn_of(histories, monkeypatch)
    assert [one.frame.title for one in drawn.panels] == ["loss (dashed: val_loss)", "accuracy", "mae"]
    loss = drawn.of(drawn.panels[0])
    found = {(look["linestyle"], look["color"]): (x, y) for x, y, look in loss if look["linestyle"]}
    first, second = style.COLOURS[:2]
    dashes = (0, (4, 2))
    assert set(found) == {("-", first), (dashes, first), ("-", second)}
    assert found["-", first][1] == pytest.approx([1.5, 1.0, 0.5])
    assert found["-", second][0] == pytest.approx([1, 2])
    assert found[dashes, first][1] == pytest.approx([2.0, math.nan, 1.25], nan_ok=True)
    ((alone, _, _),) = [one for one in loss if not one[2]["linestyle"]]
    assert alone == pytest.approx([1, 3]), "beside the gap"
    assert {"7 first", "8 $x_$"} <= set(drawn.words)


def test_ticks_are_where_matplotlibs_own_axes_have_them(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = {"epoch": [float(epoch) for epoch in range(30)]}
    columns["loss"] = [3.7 * math.exp(-epoch / 5) for epoch in range(30)]
    columns["acc"] = [1e-7 * 1.4**epoch for epoch in range(30)]
    drawn = drawn_of([JobHistory(7, "first", columns)], monkeypatch)
    for panel, name in zip(drawn.panels, ("loss", "acc"), strict=True):
        left, bottom, right, top = (one / style.DPI for one in panel.box)
        figure = Figure((right - left, top - bottom), dpi=style.DPI)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.plot(range(1, 31), columns[name])
        axes.margins(x=0.02)
        if name == "acc":
            axes.set_yscale("log")
        FigureCanvasAgg(figure).draw()
        (x0, x1), (y0, y1) = axes.get_xlim(), axes.get_ylim()
        frame = panel.frame
        assert (frame.x.low, frame.x.high, frame.y.low, frame.y.high) == pytest.approx((x0, x1, y0, y1))
        own = {label.get_text(): label.get_position()[1] for label in axes.get_yticklabels()}
        assert dict(zip(frame.y_ticks.labels, frame.y_ticks.places, strict=True)) == pytest.approx(
            {text: at for text, at in own.items() if y0 <= at <= y1}
        )


def test_twelve_jobs_look_different_and_the_legend_is_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    histories = [JobHistory(id, f"optimizer-sweep-{id}", parsed(TWO)) for id in range(1, 13)]
    drawn = drawn_of(histories, monkeypatch)
    legend = drawn.lines[-12:]
    assert len({(look["color"], look["marker"]) for _, _, look in legend}) == 12
    lowest = min(panel.box[1] for panel in drawn.panels)
    names = {word: at for word, at in drawn.words.items() if "sweep" in word}
    assert len(names) == 12
    for name, (x, y) in names.items():
        extent = measured(name, "small")
        assert x >= 0 and x + extent.wide <= drawn.size[0]
        assert y - extent.high / 2 >= 0 and y + extent.high / 2 < drawn.words["epoch"][1] < lowest


def test_a_picture_of_a_metric_of_a_thousand_classes_is_refused() -> None:
    history = JobHistory(7, "a", {"epoch": [0.0], **{f"f1_score_{n}": [0.5] for n in range(1000)}})
    with pytest.raises(UsageError, match="1000 metrics of 1 jobs make a picture that is too large"):
        picture.png([history], panels([history]))


def test_a_png_is_written_over_what_is_there(cli: Cli, jobs: Protocol) -> None:
    old = cli.directory / "old.png"
    old.write_bytes(b"x" * 1_000_000)
    (cli.directory / "link.png").symlink_to(old)
    done = cli("plot", 7, "--metric", "loss", "--output", "link.png")
    assert (done.returncode, done.stdout) == (0, "link.png: 7 first, 3 epochs\n")
    image = imread(old)
    assert image.shape[1] == 8 * style.DPI and image.shape[0] > 3 * style.DPI
    blue = [int(style.COLOURS[0][at : at + 2], 16) / 255 for at in (1, 3, 5)]
    near = (abs(image[:, :, :3] - blue) < 0.02).all(axis=2)
    assert near.sum() > 500, "the curve"
    assert near.any(axis=0).sum() > 0.8 * image.shape[1], "from left to right"


def test_json_beside_a_picture(cli: Cli, jobs: Protocol) -> None:
    done = cli("plot", 8, "--json", "-o", "a.png")
    assert [one["id"] for one in json.loads(done.stdout)] == [8]
    assert imread(cli.directory / "a.png").std() > 0.05


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a.jpg", "a.jpg does not end in .png"),
        ("dir.png", "dir.png is a directory"),
        ("none/a.png", "there is no directory"),
    ],
)
def test_places_for_no_picture_are_refused_before_the_work(
    cli: Cli, jobs: Protocol, name: str, said: str
) -> None:
    (cli.directory / "dir.png").mkdir()
    done = cli("plot", 7, "--output", name)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert said in done.stderr and jobs.requests == []


def test_a_place_that_cannot_be_written_is_one_line(cli: Cli, jobs: Protocol) -> None:
    """Also for root, whom modes do not keep out."""
    done = cli("plot", 7, "--output", "/proc/a.png")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("gpujobs: /proc/a.png cannot be written")


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_without_a_picture_nothing_slow_is_imported(
    cli: Cli, jobs: Protocol, arguments: tuple[str, ...]
) -> None:
    done = cli("plot", 7, *arguments, PYTHONPROFILEIMPORTTIME="1")
    imported = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "click" in imported and not imported & {"matplotlib", "numpy", "rich", "asyncio"}


def test_cells_that_are_no_numbers_are_gaps() -> None:
    found = parsed("epoch,loss,acc\r\n0,x,1\r\n1,2\r\n\r\n2,inf,3\r\n")
    assert found["epoch"] == [0, 1, 2] and found["loss"][1:] == [2.0, math.inf]
    assert math.isnan(found["loss"][0]) and math.isnan(found["acc"][1])
    (loss, _) = panels([JobHistory(1, "a", found)])
    assert loss.finite() == [2.0] and list(loss.curves[0].runs()) == [[1]]
    assert curves.json_of(JobHistory(1, "a", found))["history"]["loss"] == [None, 2.0, None]


FORECAST = {
    "part": "test", "horizon": 1, "naive": "last value", "axis": "time", "zone": "UTC", "of_tracks": 1, "of_points": 2,
    "tracks": [
        {
            "target": "load $", "group": None, "x": ["2026-01-01T00:00:00+00:00", "2026-01-01T01:00:00+00:00"],
            "truth": [1.0, 2.0], "forecast": [1.5, None], "naive": [0.5, 1.0],
        }
    ],
}  # fmt: skip


def test_a_forecast_and_a_confusion_matrix_are_drawn_from_the_results(cli: Cli, jobs: Protocol) -> None:
    evaluation = {
        "part": "test",
        "classes": [{}],
        "confusion": {"classes": ["a", "b"], "matrix": [[3, 1], [0, 9]]},
    }
    jobs.files = {
        "forecast.json": json.dumps(FORECAST).encode(),
        "metrics.json": json.dumps({"evaluation": evaluation}).encode(),
    }
    for of in ("forecast", "confusion"):
        done = cli("plot", 7, "--of", of, "--output", f"{of}.png")
        assert (done.returncode, done.stdout) == (0, f"{of}.png: {of} of 7 first\n"), done.stderr
        assert imread(cli.directory / f"{of}.png").shape[0] > 300


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "{",
        '{"tracks": []}',
        json.dumps({**FORECAST, "tracks": [{"x": [{}]}]}),
        json.dumps({**FORECAST, "zone": 1}),
    ],
)
def test_a_forecast_that_its_user_has_written_is_refused_in_words(
    cli: Cli, jobs: Protocol, content: str
) -> None:
    jobs.files = {"forecast.json": content.encode()}
    done = cli("plot", 7, "--of", "forecast", "--output", "a.png")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "is not as gpujobs writes it" in done.stderr


def test_a_job_without_a_forecast_says_which_jobs_have_one(cli: Cli, jobs: Protocol) -> None:
    done = cli("plot", 7, "--of", "forecast", "--output", "a.png")
    assert (
        done.returncode == 2
        and "job 7 has no forecast.json: it comes with a completed job that" in done.stderr
    )
    assert "is of one job" in cli("plot", 7, 8, "--of", "forecast", "--json").stderr


EVALUATION = {
    "part": "test",
    "classes": [{}],
    "confusion": {
        "classes": ["rest", "\x1b[31mrun\u202e and jump", "\u65e5\u672c"],
        "matrix": [[3, 1, 0], [0, 190, 2], [7, 0, 5]],
    },
}
WAVES = {
    **FORECAST,
    "zone": "Europe/Berlin",
    "horizon": 4,
    "of_tracks": 2,
    "tracks": [
        {
            "target": "load \x1b[2J", "group": "<b>\u202e",
            "x": [f"2026-07-{1 + hour // 24:02d}T{hour % 24:02d}:00:00+00:00" for hour in range(48)],
            "truth": [100 + hour for hour in range(48)], "forecast": [90.0] * 48,
            "naive": [None, *[110.0] * 47],
        }
    ],
}  # fmt: skip


def test_of_one_ended_job_the_confusion_matrix_follows_its_curves(cli: Cli, jobs: Protocol) -> None:
    jobs.metrics = {"evaluation": EVALUATION}
    shown = cli("plot", 7).stdout.splitlines()
    assert "7 first, 3 epochs" in shown[0] and shown[-6] == ""
    assert shown[-5:] == [
        "confusion, test part",
        "true \\ predicted              rest  ?[31mru\u2026d jump            \u65e5\u672c",
        "rest                             3               1               0",
        "?[31mrun? and jump               0             190               2",
        "\u65e5\u672c                             7               0               5",
    ]
    assert cli("plot", 7, 8).stdout.count("confusion") == 0


def test_a_forecast_is_drawn_in_the_terminal_with_its_letters_times_and_values(
    cli: Cli, jobs: Protocol
) -> None:
    jobs.files = {"forecast.json": json.dumps(WAVES).encode()}
    shown = cli("plot", 7, "--of", "forecast").stdout.splitlines()
    assert shown[0] == "forecast, 4 steps ahead, on the test part; 1 of 2 series"
    assert shown[2] == "<b>?: load ?[2J" and max(map(len, shown)) <= 80
    top, bottom = shown[3], shown[12]
    assert top.split("\u2524")[0].strip() == "147" and bottom.split("\u2524")[0].strip() == "90"
    assert shown[14].lstrip().startswith("2026-07-01 02:00"), "Berlin is two hours ahead"
    assert shown[14].rstrip().endswith("2026-07-03 01:00") and "time (Europe/Berlin)" in shown[14]
    assert shown[-1] == "a truth  b forecast  c naive: last value (dashed)"
    curves_and_more = cli("plot", 7).stdout.splitlines()
    assert curves_and_more[-len(shown) :] == shown and curves_and_more[0] == "7 first, 3 epochs"


def test_more_classes_than_columns_are_told_by_what_is_most_confused(cli: Cli, jobs: Protocol) -> None:
    matrix = [[1000 * (row == column) for column in range(40)] for row in range(40)]
    matrix[3][5], matrix[8][2] = 17, 250
    confusion = {"classes": list(range(40)), "matrix": matrix}
    jobs.metrics = {"evaluation": {**EVALUATION, "confusion": confusion}}
    jobs.files = {"metrics.json": json.dumps(jobs.metrics).encode()}
    assert cli("plot", 7, "--of", "confusion").stdout.splitlines() == [
        "confusion, test part",
        "  40000 of 40267 right; 40 classes are too many for 80 columns",
        "  8 was taken for 2: 250 of 1250",
        "  3 was taken for 5: 17 of 1017",
    ]
    assert len(cli("plot", 7, "--of", "confusion", COLUMNS="400").stdout.splitlines()) == 42
