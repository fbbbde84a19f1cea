"""gpujobs finish"""

from __future__ import annotations

from gpujobs.cli import app
from gpujobs.cli.change import change_jobs, yes_option
from gpujobs.cli.choosing import Selection, choosing


@app.command("finish", "gpujobs finish 7")
@choosing()
@yes_option
@app.json_option
def command(chosen: Selection, yes: bool, as_json: bool) -> None:
    """The epoch under way is the last: the model, the predictions and the evaluation are made as after a whole
    training, and the job completes. Of a training that has ended otherwise, `requeue --finish` makes a model of its
    last checkpoint."""
    change_jobs("finish", chosen, as_json, yes)
