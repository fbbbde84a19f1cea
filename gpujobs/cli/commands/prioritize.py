"""gpujobs prioritize"""

from __future__ import annotations

import click

from gpujobs.cli import app
from gpujobs.cli.change import change_jobs, yes_option
from gpujobs.cli.choosing import Selection, choosing
from gpujobs.model import MAX_PRIORITY


@app.command("prioritize", "gpujobs prioritize 7 8 100")
@choosing()
@click.argument("priority", type=click.IntRange(-MAX_PRIORITY, MAX_PRIORITY), metavar="N")
@yes_option
@app.json_option
def command(chosen: Selection, priority: int, yes: bool, as_json: bool) -> None:
    """N is the new priority, for jobs that have not ended. GROUP is a group's id, such as g12, or its name."""
    change_jobs("prioritize", chosen, as_json, yes, priority=priority)


# So that -5 is a number and no option.
command.context_settings["ignore_unknown_options"] = True
