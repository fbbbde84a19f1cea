"""gpujobs requeue"""

from __future__ import annotations

from typing import Any

import click

from gpujobs.cli import app
from gpujobs.cli.change import change_jobs, yes_option
from gpujobs.cli.choosing import Selection, choosing
from gpujobs.cli.commands.limit import TIME_LIMIT


@app.command("requeue", "gpujobs requeue --state TIMEOUT --since yesterday --limit 4h")
@choosing()
@click.option("--hold", is_flag=True, help="Do not start the copies before `gpujobs release`.")
@click.option(
    "--limit", type=TIME_LIMIT, metavar="TIME", help="Give the copies another time limit, such as 4h."
)
@click.option(
    "--finish", is_flag=True, help="End at the last checkpoint's epoch: its model, predictions, evaluation."
)
@click.option("--no-after", is_flag=True, help="Let the copies wait for no other job.")
@click.option("--fresh", is_flag=True, help="Begin anew, without the checkpoint.")
@yes_option
@app.json_option
def command(
    chosen: Selection,
    hold: bool,
    limit: float | None,
    finish: bool,
    no_after: bool,
    fresh: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """A copy has all that was said when its original was submitted; it goes on from the checkpoint of one that did
    not complete. It waits for the copies of the jobs that its original waited for.

    GROUP is a group's id, such as g12, or its name: its jobs that have ended without success. A range or an option
    means your own jobs, unless --user says whose."""
    asked: dict[str, Any] = {
        "hold": hold, "limit_seconds": limit, "finish": finish, "no_after": no_after, "fresh": fresh
    }  # fmt: skip
    change_jobs("requeue", chosen, as_json, yes, **{key: value for key, value in asked.items() if value})
