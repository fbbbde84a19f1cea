"""gpujobs predict"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from gpujobs.cli import app
from gpujobs.cli.running import run_jobs
from gpujobs.errors import JobFileError, Problem

if TYPE_CHECKING:
    from gpujobs.client import Client

PLACE = "predict"
"""Stands for the name of the job file that is made here; data paths are relative to its directory."""


@app.command("predict", "gpujobs predict 7 --values '[[0],[0],[0],[0],[0],[1]]'")
@app.id_argument
@click.argument("data", nargs=-1, metavar="[DATA...]")
@click.option("--values", metavar="JSON", help="One sample, or a list of samples, instead of data files.")
@click.option(
    "--states",
    multiple=True,
    metavar="LAYER",
    help="Also the states of this recurrent layer after the last step; repeatable.",
)
@click.option("--name", help="Name the job.")
@app.json_option
def command(
    id: int,
    data: tuple[str, ...],
    values: str | None,
    states: tuple[str, ...],
    name: str | None,
    as_json: bool,
) -> None:
    """ID is the job that trained the model, DATA files of the same form as its own."""
    text = job_file(id, _entries(data, values, list(states)), name)
    run_jobs(lambda client: _submit(client, text), report=_report if as_json else None)


def _entries(data: tuple[str, ...], values: str | None, states: list[str]) -> list[dict[str, Any]]:
    if bool(data) == (values is not None):
        raise click.UsageError("expected data files, or --values with a sample, and not both.")
    more = {"states": states} if states else {}
    if values is None:
        return [{"path": path, **more} for path in data]
    try:
        given = json.loads(values)
    except ValueError as error:
        raise click.BadParameter(
            f"{values!r} is not JSON ({error}); expected a sample such as [[0],[0],[1]].",
            param_hint="--values",
        ) from None
    return [{"name": "values", "values": given, **more}]


def job_file(id: int, predict: list[dict[str, Any]], name: str | None) -> str:
    """JSON, which is YAML too."""
    return json.dumps({"name": name or f"predict-{id}", "model": {"job": id}, "predict": predict})


def _submit(client: Client, text: str) -> list[dict[str, Any]]:
    from gpujobs.client.delivery import deliver
    from gpujobs.client.submission import Submission

    submission = Submission([{"path": PLACE, "text": text, "data": {}}])
    try:
        jobs = deliver(client, submission, {"set": {}, "options": {}}, sys.argv[1:], _say)
    except JobFileError as error:  # its lines are those of a file that nobody has written
        raise JobFileError([Problem(PLACE, None, one.message) for one in error.problems]) from None
    return jobs


def _say(text: str) -> None:
    click.echo(f"gpujobs: {text}", err=True)


def _report(client: Client, ids: list[int]) -> object:
    jobs = client.get("/v1/jobs", ids=ids)["jobs"]
    ended = [job["id"] for job in jobs if job["results"] is not None]
    found = client.get("/v1/results", ids=ended)["results"] if ended else []
    predictions = {entry["job"]: entry["metrics"].get("predictions") for entry in found}
    return [{**job, "predictions": predictions.get(job["id"])} for job in jobs]
