"""gpujobs cancel"""

from __future__ import annotations

import click

from gpujobs.cli import app
from gpujobs.cli.change import change_jobs, yes_option
from gpujobs.cli.choosing import Selection, choosing


@app.command("cancel", "gpujobs cancel --name 'lstm-*' --state PENDING")
@choosing()
@click.option("--reason", default="", metavar="TEXT", help="Why; the jobs' owners read it.")
@yes_option
@app.json_option
def command(chosen: Selection, reason: str, yes: bool, as_json: bool) -> None:
    """GROUP is a group's id, such as g12, or its name: all jobs of a sweep. A range or an option means your own
    jobs, unless --user says whose."""
    change_jobs("cancel", chosen, as_json, yes, **({"reason": reason} if reason else {}))
