"""gpujobs logs"""

from __future__ import annotations

import sys

import click

from gpujobs.cli import app
from gpujobs.cli.choosing import Selection, choosing


@app.command("logs", "gpujobs logs -f 7")
@choosing()
@click.option("-f", "--follow", is_flag=True, help="Go on until the job has ended.")
@click.option(
    "--attempt", type=click.IntRange(min=1), metavar="N", help="Of this attempt; default: the last."
)
@click.option("--tail", type=click.IntRange(min=0), metavar="N", help="Only the last N lines.")
def command(chosen: Selection, follow: bool, attempt: int | None, tail: int | None) -> None:
    query = {"follow": follow, "attempt": attempt, "tail": tail}
    client = app.client()
    with client.open(f"/v1/jobs/{chosen.one(client)}/log", **query) as log:
        while piece := log.read1():
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
