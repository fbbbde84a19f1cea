"""gpujobs logs"""

from __future__ import annotations

import sys

import click

from gpujobs.cli import app


@app.command("logs", "gpujobs logs -f 7")
@app.id_argument
@click.option("-f", "--follow", is_flag=True, help="Go on until the job has ended.")
@click.option(
    "--attempt", type=click.IntRange(min=1), metavar="N", help="Of this attempt; default: the last."
)
@click.option("--tail", type=click.IntRange(min=0), metavar="N", help="Only the last N lines.")
def command(id: int, follow: bool, attempt: int | None, tail: int | None) -> None:
    query = {"follow": follow, "attempt": attempt, "tail": tail}
    with app.client().open(f"/v1/jobs/{id}/log", **query) as log:
        while piece := log.read1():
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
