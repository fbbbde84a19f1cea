"""gpujobs prune"""

from __future__ import annotations

import sys
from collections import defaultdict
from typing import Any

import click

from gpujobs.cli import app, output
from gpujobs.units import seconds

KINDS = ("results", "checkpoints", "logs", "data", "jobs")


class Age(click.ParamType[int]):
    """A duration such as 30d, in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return seconds(int(value) if str(value).isdecimal() else value)
        except ValueError:
            self.fail(f"{value!r} is no duration; expected one such as 30d, 12h or 90m.", param, ctx)


@app.command("prune", "gpujobs prune --older-than 30d --dry-run")
@click.option(
    "--older-than", type=Age(), metavar="TIME", help="What ended longer ago than this, such as 30d."
)
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice(KINDS),
    help="Only this; repeatable. Default: all but jobs.",
)
@click.option("--mine", is_flag=True, help="Only what is yours; for admins, who remove everybody's.")
@click.option("--dry-run", is_flag=True, help="Only show what would go.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@app.json_option
def command(
    older_than: int | None, kinds: tuple[str, ...], mine: bool, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """results: of completed jobs. checkpoints and logs: of jobs that did not complete. data: what was uploaded, and
    no job uses any more. jobs: the records of jobs of which nothing else is left.

    Without --older-than it removes what the site's rules, [retention] of gpujobs.toml, remove once a day.
    Nothing goes that a job needs which has not ended. Boxes that have joined, and are there, are covered too."""
    client = app.client()
    body = {"older_than_seconds": older_than, "kinds": list(kinds) or None, "mine": mine}
    if not dry_run and not yes and not as_json and sys.stdin.isatty() and sys.stdout.isatty():
        planned = client.post("/v1/prune", {**body, "dry_run": True})["removed"]
        _show(planned, "would be removed")
        if not planned or not click.confirm("remove this?"):
            return
    answer = client.post("/v1/prune", {**body, "dry_run": dry_run})
    if as_json:
        output.print_json(answer["removed"])
    else:
        _show(answer["removed"], "would be removed" if dry_run else "was removed")


def _show(removed: list[dict[str, Any]], verb: str) -> None:
    if not removed:
        click.echo("there is nothing to remove")
        return
    groups: defaultdict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for one in removed:
        groups[one["kind"], one["user"] or f"uid {one['uid']}"].append(one)
    ordered = sorted(groups.items(), key=lambda item: (KINDS.index(item[0][0]), item[0][1]))
    rows = [_row(kind, user, ones) for (kind, user), ones in ordered]
    click.echo("\n".join(output.table(("KIND", "USER", "COUNT", "SIZE", "OLDEST", "JOBS"), rows, flexible=5)))
    click.echo(f"{output.size(sum(one['bytes'] for one in removed))} {verb}")


def _name(one: dict[str, Any]) -> object:
    """A job on another box with that box's name."""
    if one["job"] is None:
        return one.get("name")
    return one["job"] if one.get("node") is None else f"{one['node']}:{one['job']}"


def _row(kind: str, user: str, ones: list[dict[str, Any]]) -> tuple[object, ...]:
    oldest = min(one["since"] for one in ones)
    named = (_name(one) for one in ones)
    jobs = " ".join(str(name) for name in named if name is not None)
    size = output.size(sum(one["bytes"] for one in ones)) if kind != "jobs" else ""
    return kind, user, len(ones), size, output.local_time(oldest), jobs
