"""gpujobs requeue"""

from __future__ import annotations

import click

from gpujobs.cli import app
from gpujobs.cli.change import change_jobs


@app.command("requeue", "gpujobs requeue 7")
@app.ids_argument
@click.option("--fresh", is_flag=True, help="Begin anew, without the checkpoint.")
@app.json_option
def command(ids: tuple[int | str, ...], fresh: bool, as_json: bool) -> None:
    """GROUP is a group's id, such as g12, or its name: all jobs of a sweep. A job that did not complete goes on from
    its checkpoint."""
    change_jobs("requeue", ids, as_json, **({"fresh": True} if fresh else {}))
