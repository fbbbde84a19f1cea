"""gpujobs schema"""

from __future__ import annotations

import click

from gpujobs.cli import app


@app.command("schema", "gpujobs schema > gpujobs.schema.json")
def command() -> None:
    from importlib.resources import files

    click.echo(files("gpujobs.jobfile").joinpath("schema.json").read_text(encoding="utf-8"), nl=False)
