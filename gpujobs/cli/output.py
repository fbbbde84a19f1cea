"""Tables, sizes, durations and JSON.

Plain, because importing rich takes longer than a request.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click

from gpujobs.cli import cells, clock, streams
from gpujobs.printing import printable as printable
from gpujobs.states import FINAL_STATES
from gpujobs.view import words
from gpujobs.view.words import counts as counts
from gpujobs.view.words import duration as duration

PIPE_WIDTH = 80
"""Of drawings. Tables and paragraphs are not cut where no terminal shows them."""

UNCUT = 1 << 20
NAMES = frozenset({"NAME", "JOB", "USER", "FOR", "ARRAY"})
"""Columns of names, which differ at their ends: they are shortened in the middle."""

TIMES = frozenset({"STARTED", "ENDED", "FROM", "UNTIL"})
"""Columns of times, of which a part is worth nothing: they are the last to be cut."""

COLOURS = {
    **words.STATE_COLOURS,
    "free": "green",
    "foreign": "yellow",
    "lost": "red",
}


def print_json(value: object) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def has_colour() -> bool:
    return streams.has_colour(sys.stdout)


def width(pipe: int = PIPE_WIDTH) -> int:
    """Columns of the terminal, or what COLUMNS says; `pipe` where standard output is no terminal."""
    import shutil

    if sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdecimal():
        return shutil.get_terminal_size((PIPE_WIDTH, 24)).columns
    return pipe


def indented(text: object, label: str = "", hanging: int = 2) -> str:
    """A paragraph below a line of a table, within the width; `label` stands before it, and its further lines
    begin in column `hanging`."""
    first = f"  {label}".ljust(hanging)
    return cells.wrapped(printable(text), width(), first, " " * hanging)


def message(text: object) -> str:
    """As `printable`, of a sentence of the daemon: its instants in the reader's time zone."""
    return clock.localised(printable(text))


def table(
    head: Sequence[str], rows: Sequence[Sequence[object]], *, flexible: int, indent: int = 0
) -> list[str]:
    """Aligned lines, cut to the terminal's width, of which the caller takes `indent` columns."""
    texts = [[printable(cell) for cell in row] for row in (head, *rows)]
    sizes = [max(cells.width(row[column]) for row in texts) for column in range(len(head))]
    whole = [column for column, title in enumerate(head) if title in TIMES]
    _fit(sizes, flexible, whole, width(UNCUT) - indent - 2 * (len(sizes) - 1))
    colour = has_colour()
    shorten = [cells.shortened if title in NAMES else cells.cut for title in head]
    return [
        _line(
            [cut(cell, size) for cut, cell, size in zip(shorten, row, sizes, strict=True)],
            sizes,
            colour and at > 0,
        )
        for at, row in enumerate(texts)
    ]


def _fit(sizes: list[int], flexible: int, whole: Sequence[int], space: int) -> None:
    """Narrows the widest columns first; the flexible one has the half of the space where the others need the rest,
    and gives way most."""
    others = [column for column in range(len(sizes)) if column != flexible and column not in whole]
    half = max(40, space // 2)
    steps = (([flexible], half), (others, 16), ([flexible], 24), (others, 8), ([flexible], 8), (whole, 8))
    for columns, floor in steps:
        while columns and sum(sizes) > space:
            widest = max(columns, key=lambda column: sizes[column])
            if sizes[widest] <= floor:
                break
            sizes[widest] -= 1


def _line(row: Sequence[str], sizes: Sequence[int], colour: bool) -> str:
    parts = []
    for cell, size in zip(row, sizes, strict=True):
        text = cells.padded(cell, size)
        parts.append(click.style(text, fg=COLOURS[cell]) if colour and cell in COLOURS else text)
    return "  ".join(parts).rstrip()


def size(count: int | None) -> str:
    if count is None:
        return "?"
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError("unreachable")


def local_time(text: str | None, unit: str = "minutes") -> str:
    """An instant of the JSON as `2026-12-24 18:30`, as `clock` shows it; `unit` may be `seconds`."""
    return clock.from_json(text, unit)


def is_near(text: str, seconds: float = 10.0) -> bool:
    """Whether an instant of the JSON is over, or comes within seconds."""
    return (datetime.fromisoformat(text) - datetime.now(UTC)).total_seconds() < seconds


def elapsed(job: dict[str, Any]) -> float | None:
    """Seconds of training so far, or of waiting where it has not started."""
    start = job.get("started_at") or job.get("submitted_at")
    if start is None:
        return None
    end = job.get("ended_at")
    until = datetime.fromisoformat(end) if end else datetime.now(UTC)
    return (until - datetime.fromisoformat(start)).total_seconds()


def device(value: Mapping[str, Any] | None, node: str | None = None) -> str:
    """`gpu 0`; with its node, where there are several: `box2:gpu 0`."""
    if value is None:
        return ""
    name = f"{value['kind']} {value['index']}"
    return name if node is None else f"{node}:{name}"


def holder(term: Mapping[str, Any]) -> str:
    """Whom a reservation is for; the site may hide it."""
    return term["user"] or (f"group {term['group']}" if term["group"] else "others")


def progress(job: dict[str, Any]) -> str:
    """What a job does, or why it does not."""
    return clock.localised(words.of_job(job))


def has_ended(job: dict[str, Any]) -> bool:
    return job["state"] in FINAL_STATES


JOB_HEAD = ("ID", "NAME", "USER", "STATE", "DEVICE", "PROGRESS/REASON", "TIME")


def queue_table(rows: Sequence[dict[str, Any]], *, names_nodes: bool = False) -> list[str]:
    """`rows` as `GET /v1/queue` has them; the jobs of a group that is unfolded are indented."""
    cells: list[tuple[object, ...]] = []
    unfolded: object = None
    for row in rows:
        if "group" in row:
            unfolded = row["group"]["id"]
            cells.append(_group_cells(row["group"]))
        else:
            is_member = unfolded is not None and row["job"]["group_id"] == unfolded
            cells.append(_job_cells(row["job"], "  " if is_member else "", names_nodes=names_nodes))
    return table(JOB_HEAD, cells, flexible=5)


def _job_cells(j: dict[str, Any], indent: str, *, names_nodes: bool) -> tuple[object, ...]:
    where, time = device(j["device"], j["node"] if names_nodes else None), duration(elapsed(j))
    name = settings(j["sweep"]) if j.get("sweep") else j["name"]
    if j.get("sweep") and not indent:
        name = f"{j['name']} {name}"
    return f"{indent}{j['id']}", name, j["user"], j["state"], where, progress(j), time


def settings(sweep: dict[str, Any]) -> str:
    """What a sweep sets for a job, which tells it from the others: `units=64 learning_rate=0.01`."""
    from gpujobs.cli.ranking import setting, short_names

    names = short_names(list(sweep))
    return " ".join(f"{names[key]}={setting(value)}" for key, value in sweep.items())


def _group_cells(g: dict[str, Any]) -> tuple[object, ...]:
    what = clock.localised(words.of_group(g))
    return f"g{g['id']}", g["name"], g["user"], g["state"], "", what, duration(elapsed(g))
