"""gpujobs results"""

from __future__ import annotations

from typing import Any

import click

from gpujobs.cli import app, cells, output
from gpujobs.cli.choosing import Selection, choosing, is_range
from gpujobs.errors import UsageError


@app.command("results", "gpujobs results optimizer-sweep --metric val_mae")
@choosing(required=False)
@click.option("--metric", help="What ranks the jobs of a group; by default, what they watch.")
@click.option("--mode", type=click.Choice(["min", "max"]), help="Which end of the metric is the better one.")
@app.json_option
def command(chosen: Selection, metric: str | None, mode: str | None, as_json: bool) -> None:
    """Those of one group are ranked; of several jobs each is a line."""
    client = app.reading_client()
    if len(chosen.ids) == 1 and chosen.number is None and not is_range(chosen.ids[0]):
        _ranking(client.get("/v1/ranking", **chosen.query, metric=metric, mode=mode), as_json)
        return
    if metric or mode:
        raise click.UsageError("--metric and --mode rank the jobs of a group; expected its id or name too.")
    results = client.get("/v1/results", own=bool(chosen), **chosen.query)["results"]
    if as_json:
        output.print_json(results)
    elif chosen.number is not None:
        _one(chosen.number, results)
    elif results:
        head = ("JOB", "NAME", "USER", "ENDED", "FILES", "METRICS")
        click.echo("\n".join(output.table(head, [_row(result) for result in results], flexible=5)))
    else:
        click.echo("no results yet; `gpujobs status` shows what is on its way")


def _ranking(ranking: dict[str, Any], as_json: bool) -> None:
    if as_json:
        output.print_json(ranking)
        return
    from gpujobs.cli.ranking import lines

    click.echo("\n".join(lines(ranking)))


def _one(id: int, results: list[dict[str, Any]]) -> None:
    if not results:
        raise UsageError(f"job {id} has no results that you may read; `gpujobs status {id}` says how it did.")
    click.echo(results[0]["directory"])
    for line in results[0].get("evaluation") or []:
        click.echo(f"  {output.printable(line)}")
    files = [(output.printable(file["name"]), output.size(file["bytes"])) for file in results[0]["files"]]
    widest = max((cells.width(name) for name, _ in files), default=0)
    for name, size in files:
        click.echo(f"  {cells.padded(name, widest)}  {size:>10}")


def _row(result: dict[str, Any]) -> tuple[object, ...]:
    final = result["metrics"].get("final") or result["metrics"]
    numbers = [f"{k}={v:.4g}" for k, v in final.items() if isinstance(v, int | float)]
    numbers = [
        *_evaluated(result["metrics"].get("evaluation")),
        *numbers,
        *_unit(result["metrics"].get("units")),
    ]
    ended = output.local_time(result["ended_at"])
    return result["job"], result["name"], result["user"], ended, len(result["files"]), " ".join(numbers)


def _evaluated(evaluation: Any) -> list[str]:
    """What says how good the model is, in the data's own units, before the figures of its last epoch."""
    if not isinstance(evaluation, dict) or not isinstance(evaluation.get("model"), dict):
        return []
    metric, part = evaluation.get("metric"), evaluation.get("part")
    value = evaluation["model"].get(metric)
    return [f"{part} {metric}={value:.4g};"] if isinstance(value, int | float) else []


def _unit(units: Any) -> list[str]:
    """Of the losses and errors of the last epoch, where it is not the data's own."""
    unit = units.get("history") if isinstance(units, dict) else None
    return [f"(of {unit})"] if isinstance(unit, str) and "scaled" in unit else []
