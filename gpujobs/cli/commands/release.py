"""gpujobs release"""

from __future__ import annotations

from gpujobs.cli import app
from gpujobs.cli.change import change_jobs, yes_option
from gpujobs.cli.choosing import Selection, choosing


@app.command("release", "gpujobs release 7 60-65")
@choosing()
@yes_option
@app.json_option
def command(chosen: Selection, yes: bool, as_json: bool) -> None:
    """GROUP is a group's id, such as g12, or its name: all jobs of a sweep. A range or an option means your own
    jobs, unless --user says whose."""
    change_jobs("release", chosen, as_json, yes)
