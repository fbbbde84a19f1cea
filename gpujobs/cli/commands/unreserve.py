"""gpujobs unreserve"""

from __future__ import annotations

from typing import Any

import click

from gpujobs.cli import app, output
from gpujobs.cli.commands.reserve import show


@app.command("unreserve", "gpujobs unreserve 3")
@click.argument("ids", nargs=-1, required=True, type=click.IntRange(min=1), metavar="ID...")
@app.json_option
def command(ids: tuple[int, ...], as_json: bool) -> None:
    """ID is that of a reservation, which `gpujobs reserve` lists. Prints those that are left."""
    client = app.client()
    left: dict[str, Any] = {"reservations": []}
    for id in ids:
        left = client.post(f"/v1/reservations/{id}/cancel", {})
    if as_json:
        output.print_json(left["reservations"])
    else:
        show(left)
