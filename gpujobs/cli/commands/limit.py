"""gpujobs limit"""

from __future__ import annotations

from typing import Any

import click

from gpujobs.cli import app
from gpujobs.cli.change import change_jobs, yes_option
from gpujobs.cli.choosing import Selection, choosing
from gpujobs.units import seconds


class TimeLimit(click.ParamType[float]):
    """Seconds; 0 for none."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        if value == "none":
            return 0.0
        try:
            found = float(seconds(value))
        except ValueError:
            found = 0.0
        if found < 1:
            self.fail(f"{value!r}; expected a duration such as 90m, 1h30m or 1:30:00, or none.", param, ctx)
        return found


TIME_LIMIT = TimeLimit()


@app.command("limit", "gpujobs limit 7 4h")
@choosing()
@click.argument("time", type=TIME_LIMIT, metavar="TIME")
@yes_option
@app.json_option
def command(chosen: Selection, time: float, yes: bool, as_json: bool) -> None:
    """TIME is the new limit, such as 90m or 4h, counted from the start of the attempt: less than before, or more
    within what the site allows; none takes it away. For jobs that wait or run."""
    change_jobs("limit", chosen, as_json, yes, limit_seconds=time or None)
