"""gpujobs results"""

from __future__ import annotations

from typing import Any

import click

from gpujobs.cli import app, output
from gpujobs.errors import UsageError


@app.command("results", "gpujobs results 7")
@click.argument("id", required=False, type=click.IntRange(min=1), metavar="[ID]")
@click.option("--user", help="Only this user's.")
@app.json_option
def command(id: int | None, user: str | None, as_json: bool) -> None:
    results = app.client().get("/v1/results", ids=id, user=user)["results"]
    if as_json:
        output.print_json(results)
    elif id is not None:
        _one(id, results)
    elif results:
        head = ("JOB", "NAME", "USER", "ENDED", "FILES", "METRICS")
        click.echo("\n".join(output.table(head, [_row(result) for result in results], flexible=5)))
    else:
        click.echo("no results yet; `gpujobs status` shows what is on its way")


def _one(id: int, results: list[dict[str, Any]]) -> None:
    if not results:
        raise UsageError(f"job {id} has no results that you may read; `gpujobs status {id}` says how it did.")
    click.echo(results[0]["directory"])
    for file in results[0]["files"]:
        click.echo(f"  {output.printable(file['name']):<32} {output.size(file['bytes']):>10}")


def _row(result: dict[str, Any]) -> tuple[object, ...]:
    final = result["metrics"].get("final") or result["metrics"]
    numbers = [f"{k}={v:.4g}" for k, v in final.items() if isinstance(v, int | float)]
    ended = (result["ended_at"] or "")[:16].replace("T", " ")
    return result["job"], result["name"], result["user"], ended, len(result["files"]), " ".join(numbers)
