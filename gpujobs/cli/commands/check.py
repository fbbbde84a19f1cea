"""gpujobs check"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from gpujobs.cli import app, checking, output
from gpujobs.cli.commands.submit import overrides
from gpujobs.cli.running import some_daemon
from gpujobs.errors import DaemonUnreachableError

if TYPE_CHECKING:
    from gpujobs.client.submission import Submission


@app.command("check", "gpujobs check jobs/tutorial.yaml")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Override a field; repeatable.")
@app.json_option
def command(files: tuple[str, ...], sets: tuple[str, ...], as_json: bool) -> None:
    from gpujobs.client.submission import read_job_files

    values = overrides(sets)
    submission = read_job_files(list(dict.fromkeys(files)), is_look=True)
    try:
        answer = _asked(submission, values)
    except DaemonUnreachableError:  # that of a `run`, which ended meanwhile; asking again changes nothing
        answer = _asked(submission, values)
    if as_json:
        output.print_json(answer["files"])
        return
    for line in checking.lines(answer["files"], answer.get("left_out", 0)):
        click.echo(line)


def _asked(submission: Submission, values: dict[str, str]) -> dict[str, Any]:
    with some_daemon("check") as client:
        return submission.send(client, "/v1/check", {"set": values, "options": {}})
