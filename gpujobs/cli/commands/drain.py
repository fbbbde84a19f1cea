"""gpujobs drain"""

from __future__ import annotations

import click

from gpujobs.cli import app, output
from gpujobs.cli.commands.gpus import show


@app.command("drain", "gpujobs drain 2 --reason 'fan replaced on Friday'")
@click.argument("devices", nargs=-1, required=True, metavar="DEVICE|NODE...")
@click.option("--reason", default="", help="Shown to everybody who looks at the device.")
@app.json_option
def command(devices: tuple[str, ...], reason: str, as_json: bool) -> None:
    """DEVICE is a number of `gpujobs gpus`, NODE:NUMBER, or the beginning of a UUID; NODE, or NODE:*, is all of
    a node. `gpujobs resume` ends it."""
    body = {"devices": list(devices), "reason": reason}
    answer = app.client().post("/v1/gpus/drain", body)
    if as_json:
        output.print_json(answer["devices"])
    else:
        show(answer["devices"], answer["nodes"])
