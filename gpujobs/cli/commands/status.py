"""gpujobs status"""

from __future__ import annotations

import sys
from typing import Any

import click

from gpujobs.cli import app, output
from gpujobs.cli.choosing import Selection, choosing


def show(rows: list[dict[str, Any]], total: int) -> None:
    if not total:
        click.echo("no jobs; `gpujobs submit FILE` queues one, `gpujobs status --all` shows ended ones too")
        return
    click.echo("\n".join(output.queue_table(rows)))
    if total > len(rows):
        click.echo(f"... and {total - len(rows):,} more (--limit 0 shows all, --json has them all)")


def watch(query: dict[str, Any], limit: int) -> None:
    """Draws the table anew whenever a job changes."""
    client = app.client()
    with client.open("/v1/watch", ids=query.get("ids")) as changes:
        while True:
            answer = client.get("/v1/queue", limit=limit or None, **query)
            if sys.stdout.isatty():
                click.clear()
            show(answer["rows"], answer["total"])
            if not changes.readline():
                return


@app.command("status", "gpujobs status --mine --state PENDING,RUNNING")
@choosing(required=False)
@click.option("--all", "everything", is_flag=True, help="Ended jobs too.")
@click.option("--unfold", is_flag=True, help="The jobs of groups too, below their line.")
@click.option("--limit", type=click.IntRange(min=0), default=100, show_default=True, help="Rows; 0: all.")
@click.option("--watch", "is_watched", is_flag=True, help="Show changes until Ctrl-C.")
@app.json_option
def command(
    chosen: Selection,
    everything: bool,
    unfold: bool,
    limit: int,
    is_watched: bool,
    as_json: bool,
) -> None:
    query: dict[str, Any] = {**chosen.query, "all": everything}
    if as_json:
        output.print_json(app.client().get("/v1/jobs", **query)["jobs"])
        return
    query["unfold"] = unfold
    if is_watched:
        watch(query, limit)
        return
    answer = app.client().get("/v1/queue", limit=limit or None, **query)
    show(answer["rows"], answer["total"])
    for notice in answer.get("notices", ()):
        click.echo(f"gpujobs: {output.printable(notice)}", err=True)
