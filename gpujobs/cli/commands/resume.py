"""gpujobs resume"""

from __future__ import annotations

import click

from gpujobs.cli import app, output
from gpujobs.cli.commands.gpus import show


@app.command("resume", "gpujobs resume 2")
@click.argument("devices", nargs=-1, required=True, metavar="DEVICE|NODE...")
@app.json_option
def command(devices: tuple[str, ...], as_json: bool) -> None:
    """DEVICE is a number of `gpujobs gpus`, NODE:NUMBER, or the beginning of a UUID; NODE, or NODE:*, is all of
    a node."""
    body = {"devices": list(devices)}
    answer = app.client().post("/v1/gpus/resume", body)
    if as_json:
        output.print_json(answer["devices"])
    else:
        show(answer["devices"], answer["nodes"])
