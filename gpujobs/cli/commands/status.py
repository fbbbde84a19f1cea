"""gpujobs status"""

from __future__ import annotations

import sys
from typing import Any

import click

from gpujobs.cli import app, output

ORDER = {"COMPLETING": 0, "RUNNING": 1, "STARTING": 2, "PENDING": 3}


def show(jobs: list[dict[str, Any]], total: int, limit: int) -> None:
    jobs = sorted(jobs, key=lambda job: ORDER.get(job["state"], 4))
    shown = jobs[:limit] if limit else jobs
    if not total:
        click.echo("no jobs; `gpujobs submit FILE` queues one, `gpujobs status --all` shows ended ones too")
        return
    click.echo("\n".join(output.job_table(shown)))
    if total > len(shown):
        click.echo(f"... and {total - len(shown):,} more (--limit 0 shows all, --json has them all)")


def watch(query: dict[str, Any], limit: int) -> None:
    """Draws the table anew whenever a job changes."""
    client = app.client()
    with client.open("/v1/watch", ids=query.get("ids")) as changes:
        while True:
            answer = client.get("/v1/jobs", limit=limit or None, **query)
            if sys.stdout.isatty():
                click.clear()
            show(answer["jobs"], answer["total"], limit)
            if not changes.readline():
                return


@app.command("status", "gpujobs status --mine --state PENDING,RUNNING")
@click.argument("ids", nargs=-1, type=click.IntRange(min=1), metavar="[ID...]")
@click.option("--mine", is_flag=True, help="Only your jobs.")
@click.option("--user", help="Only this user's jobs.")
@click.option("--state", help="Only these states, separated by commas.")
@click.option("--all", "everything", is_flag=True, help="Ended jobs too.")
@click.option("--limit", type=click.IntRange(min=0), default=100, show_default=True, help="Rows; 0: all.")
@click.option("--watch", "is_watched", is_flag=True, help="Show changes until Ctrl-C.")
@app.json_option
def command(
    ids: tuple[int, ...],
    mine: bool,
    user: str | None,
    state: str | None,
    everything: bool,
    limit: int,
    is_watched: bool,
    as_json: bool,
) -> None:
    if mine:
        import os
        import pwd

        user = pwd.getpwuid(os.getuid()).pw_name
    query: dict[str, Any] = {"ids": ids, "user": user, "state": _states(state), "all": everything}
    if is_watched and not as_json:
        watch(query, limit)
        return
    answer = app.client().get("/v1/jobs", limit=None if as_json else limit or None, **query)
    if as_json:
        output.print_json(answer["jobs"])
    else:
        show(answer["jobs"], answer["total"], limit)
    for notice in answer.get("notices", ()):
        click.echo(f"gpujobs: {output.printable(notice)}", err=True)


def _states(text: str | None) -> str | None:
    from gpujobs.model import State

    if text is None:
        return None
    names = [name.strip().upper() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in State.__members__:
            raise click.BadParameter(f"{name!r}; expected any of {', '.join(State)}.", param_hint="--state")
    return ",".join(names)
