"""gpujobs report"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gpujobs.cli import app, clock, output
from gpujobs.cli.commands.plot import check_output, write_output
from gpujobs.cli.times import PAST

if TYPE_CHECKING:
    from gpujobs.view.report import Row

BY = ("user", "group", "week", "device")
LOCALTIME = "/etc/localtime"


@app.command("report", "gpujobs report --since 2026-01-01 --by week --csv")
@click.option("--since", type=PAST, metavar="TIME", help="By default a week before the end.")
@click.option("--until", type=PAST, metavar="TIME", help="By default now.")
@click.option("--by", type=click.Choice(BY), default=BY[0], help="What the lines are of.")
@click.option(
    "--idle", is_flag=True, help="By device, those first that were idle longest, without a job or under one."
)
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@click.option(
    "-o", "--output", "path", type=click.Path(path_type=Path), metavar="FILE.png", help="Write a picture."
)
@app.json_option
def command(
    since: datetime | None,
    until: datetime | None,
    by: str,
    idle: bool,
    as_csv: bool,
    path: Path | None,
    as_json: bool,
) -> None:
    """Hours are of whole devices: half of one for two hours is one. MEMORY is the part of the reserved memory that was
    in use at most, IDLE the hours in which no job was on a device, since it was first seen. Weeks begin on Monday, in
    your time zone.

    Of GPUs, where it was sampled: LOAD is the part of the jobs' time in which the GPUs did compute, UNUSED the hours in
    which jobs had them and they did not, FOREIGN the hours in which something that is no job was seen on them."""
    if as_csv and as_json:
        raise click.UsageError("expected --csv or --json, not both.")
    if path is not None:
        check_output(path)
    by = "device" if idle else by
    span = {key: one and one.isoformat() for key, one in (("since", since), ("until", until))}
    found: dict[str, Any] = app.client().get("/v1/report", **span, by=by, zone=_zone())
    if idle:
        found["rows"].sort(key=lambda row: -((row["idle_hours"] or 0) + (row["unused_hours"] or 0)))
    _show(found, as_csv, path, as_json)


def _zone() -> str:
    """The name of the reader's time zone, UTC where it has none."""
    from zoneinfo import ZoneInfo

    place = os.environ.get("TZ", "").removeprefix(":") or str(Path(LOCALTIME).resolve())
    name = place.rpartition("zoneinfo/")[2]
    try:
        return ZoneInfo(name).key
    except (KeyError, ValueError, OSError):
        return "UTC"


def _show(found: dict[str, Any], as_csv: bool, path: Path | None, as_json: bool) -> None:
    from gpujobs.view.report import Row

    rows = [Row(**row) for row in found["rows"]]
    title = f"{clock.from_json(found['since'])} to {clock.from_json(found['until'])}"
    if path is not None:
        from gpujobs.results.pictures.report import png

        span = [datetime.fromisoformat(found[key]).astimezone() for key in ("since", "until")]
        write_output(path, png(rows, found["by"], *span))
    if as_json:
        output.print_json(found)
    elif as_csv:
        from gpujobs.view import report_csv

        click.echo(report_csv.text(rows), nl=False)
    elif path is not None:
        click.echo(output.printable(f"{path}: {title}"))
    else:
        click.echo("\n".join(_table(found["by"], rows, Row(**found["total"]), title)))
    if not found["is_whole"]:
        click.echo("gpujobs: there are more attempts than are counted; ask for less with --since", err=True)


def _table(by: str, rows: list[Row], total: Row, title: str) -> list[str]:
    head = [by.upper(), "JOBS", "ATTEMPTS", "GPU-HOURS", "CPU-HOURS", "WAIT", "LONGEST", "MEMORY"]
    is_device, all_rows = by == "device", [*rows, *([total] if len(rows) != 1 else [])]
    lines = [_line(row, is_device) for row in all_rows]
    return [
        title,
        *output.table([*head, *(["IDLE"] if is_device else [])], lines, flexible=0),
        *_of_gpus(by, all_rows),
    ]


def _line(row: Row, is_device: bool) -> list[str]:
    waits = ["" if one is None else output.duration(one) for one in (row.wait_median, row.wait_max)]
    idle = [_hours(row.idle_hours, " h")] if is_device else []
    hours = [_hours(one or None) for one in (row.gpu_hours, row.cpu_hours)]
    return [row.key, str(row.jobs), str(row.attempts), *hours, *waits, _part(row.memory_used), *idle]


def _of_gpus(by: str, rows: list[Row]) -> list[str]:
    """What NVML has told of them; nothing where it has told nothing."""
    from gpujobs.measured.words import energy

    lines = [
        [
            row.key,
            _part(row.load),
            _hours(row.unused_hours, " h"),
            "" if row.energy_joules is None else energy(row.energy_joules),
            _hours(row.foreign_hours, " h"),
        ]
        for row in rows
    ]
    shown = [line for line in lines if any(line[1:])]
    head = [by.upper(), "LOAD", "UNUSED", "ENERGY", "FOREIGN"]
    return ["", "GPUs", *output.table(head, shown, flexible=0)] if shown else []


def _hours(value: float | None, unit: str = "") -> str:
    from gpujobs.view.report import hours_in_words

    return "" if value is None else hours_in_words(value) + unit


def _part(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"
