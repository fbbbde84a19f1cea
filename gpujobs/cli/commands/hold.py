"""gpujobs hold"""

from __future__ import annotations

from gpujobs.cli import app
from gpujobs.cli.change import change_jobs


@app.command("hold", "gpujobs hold 7")
@app.ids_argument
@app.json_option
def command(ids: tuple[int | str, ...], as_json: bool) -> None:
    """GROUP is a group's id, such as g12, or its name: all jobs of a sweep."""
    change_jobs("hold", ids, as_json)
