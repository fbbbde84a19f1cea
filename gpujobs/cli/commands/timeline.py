"""gpujobs timeline"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click

from gpujobs.cli import app, output
from gpujobs.cli.commands.plot import check_output, write_output
from gpujobs.cli.times import INSTANT, PAST


@app.command("timeline", "gpujobs timeline --from yesterday --to +12h")
@click.option(
    "--from", "start", type=PAST, metavar="TIME", help="Since then: 18:30, yesterday, 2h; by default 12h."
)
@click.option("--to", "end", type=INSTANT, metavar="TIME", help="Until then: 18:30 or +12h, by default +12h.")
@click.option("--at", type=PAST, metavar="TIME", help="The box as it was at this instant.")
@click.option(
    "-o", "--output", "path", type=click.Path(path_type=Path), metavar="FILE.png", help="Write a picture."
)
@app.json_option
def command(
    start: datetime | None, end: datetime | None, at: datetime | None, path: Path | None, as_json: bool
) -> None:
    """A lane for each device: attempts of jobs, what is expected as things are, reservations, drains, and strangers
    that met a job. Of others' jobs only what `status` shows."""
    if at is not None and (start, end) != (None, None):
        raise click.UsageError("expected --at, or --from and --to, not both.")
    if path is not None:
        check_output(path)
    span = (start, end) if at is None else (at, at + timedelta(seconds=1))
    asked = {key: one and one.isoformat() for key, one in zip(("from", "to"), span, strict=True)}
    found: dict[str, Any] = app.client().get("/v1/timeline", **asked)
    _show(found, at, path, as_json)


def _show(found: dict[str, Any], at: datetime | None, path: Path | None, as_json: bool) -> None:
    from gpujobs.view.timeline import from_json

    shown = from_json(found) if at is None else from_json(found).at(at)
    if path is not None:
        from gpujobs.results.pictures.timeline import png

        write_output(path, png(shown, datetime.now().astimezone().tzinfo or shown.now.tzinfo))  # type: ignore[arg-type]
    if as_json:
        output.print_json(shown.to_json())
    elif path is not None:
        click.echo(output.printable(f"{path}: {len(shown.lanes)} devices"))
    else:
        from gpujobs.cli import lanes

        drawn = (
            lanes.lines(shown, output.width(), output.has_colour())
            if at is None
            else lanes.as_it_was(shown, at)
        )
        click.echo("\n".join(drawn))
    if not shown.is_whole:
        click.echo("gpujobs: there is more than is shown; ask for less with --from and --to", err=True)
