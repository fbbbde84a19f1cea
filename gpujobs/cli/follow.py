"""Following jobs until they have ended: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from gpujobs.cli import output, streams
from gpujobs.errors import DaemonUnreachableError, DriverError
from gpujobs.model import NodeStatus, Reason

if TYPE_CHECKING:
    from gpujobs.client import Client

RESULT_FILES = ("model.keras", "predictions.npz", "predictions.csv", "history.csv", "log.txt")
LOG_TAIL_LINES = 20
PREDICTIONS_SHOWN = 20
FEW = 10
DRIVER_TRIES = 3


def follow_jobs(client: Client, ids: Sequence[int], *, err: bool = False, needs_driver: bool = False) -> bool:
    """Shows these jobs until all have ended, then how each did. True if all completed.

    With `needs_driver`, raises DriverError where nothing can start because NVML fails.
    """
    stream = sys.stderr if err else sys.stdout
    draw = _live if streams.is_live(stream) else _plain
    changes = client.watch(ids)
    jobs = draw(_while_driver_works(client, changes) if needs_driver else changes, err)
    missing = [id for id in ids if id not in jobs or not output.has_ended(jobs[id])]
    if missing:
        raise DaemonUnreachableError(
            f"the daemon ended before job {missing[0]}; start it again with `gpujobs serve &`: jobs are kept."
        )
    for id in ids:
        _outcome(client, jobs[id], err)
    return all(jobs[id]["state"] == "COMPLETED" for id in ids)


def _while_driver_works(client: Client, changes: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Gives up where no job has started yet, and NVML fails again and again."""
    started = False
    for job in changes:
        yield job
        started = started or job["attempt"] > 0
        if job["reason"] == Reason.DRIVER_ERROR and not started and _driver_fails(client):
            raise DriverError(output.message(job["message"]))


def _driver_fails(client: Client) -> bool:
    """Asked several times: a driver that has just been loaded may miss the first deadlines."""
    return all(
        any(node["status"] == NodeStatus.DRIVER_ERROR for node in client.get("/v1/gpus")["nodes"])
        for _ in range(DRIVER_TRIES)
    )


def _line(job: dict[str, Any]) -> str:
    where = f" on {output.device(job['device'])}" if job["device"] and not output.has_ended(job) else ""
    what = output.progress(job)
    return output.printable(
        f"job {job['id']} {job['name'] or '-'}: {job['state']}{where}{'  ' + what if what else ''}"
    )


def _plain(changes: Iterator[dict[str, Any]], err: bool) -> dict[int, dict[str, Any]]:
    """A line for each change of state, for each tenth of the epochs, and of few jobs for what they wait for."""
    jobs: dict[int, dict[str, Any]] = {}
    said: dict[int, tuple[object, ...]] = {}
    for job in changes:
        jobs[job["id"]] = job
        done = job["progress"] or {}
        tenth = 10 * done["epoch"] // done["epochs"] if done.get("epoch") and done.get("epochs") else 0
        why = job["message"] if job["state"] == "PENDING" and len(jobs) <= FEW else None
        news = (job["state"], job["reason"], why, tenth if job["state"] == "RUNNING" else 0)
        if said.get(job["id"]) != news:
            said[job["id"]] = news
            click.echo(_line(job), err=err)
    return jobs


def _live(changes: Iterator[dict[str, Any]], err: bool) -> dict[int, dict[str, Any]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    jobs: dict[int, dict[str, Any]] = {}
    stream = sys.stderr if err else sys.stdout
    system: Literal["auto"] | None = "auto" if streams.has_colour(stream) else None
    columns = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=20))
    with Progress(*columns, console=Console(file=stream, color_system=system)) as display:
        tasks = {}
        for job in changes:
            jobs[job["id"]] = job
            done = job["progress"] or {}
            total = done.get("epochs")
            if job["id"] not in tasks:
                tasks[job["id"]] = display.add_task(_line(job), total=total)
            epoch = total if job["state"] == "COMPLETED" and total else done.get("epoch", 0)
            display.update(tasks[job["id"]], description=_line(job), total=total, completed=epoch)
    return jobs


def _outcome(client: Client, job: dict[str, Any], err: bool) -> None:
    click.echo(f"\njob {job['id']} {output.printable(job['name'])}: {job['state']}", err=err)
    if job["state"] != "COMPLETED":
        _failure(client, job, err)
        _device_use(client, job, err)
        return
    (found,) = client.get("/v1/results", ids=[job["id"]])["results"]
    for name, prediction in (found["metrics"].get("predictions") or {}).items():
        _prediction(name, prediction, err)
    for line in found.get("evaluation") or []:
        click.echo(f"  {output.printable(line)}", err=err)
    _device_use(client, job, err)
    names = {file["name"] for file in found["files"]}
    for name in RESULT_FILES:
        if name in names:
            click.echo(f"  {name:<16} {shorter(Path(found['directory']) / name)}", err=err)


def _failure(client: Client, job: dict[str, Any], err: bool) -> None:
    click.echo(f"  {output.printable(output.progress(job))}", err=err)
    with client.open(f"/v1/jobs/{job['id']}/log", tail=LOG_TAIL_LINES) as log:
        for number, line in enumerate(log):
            if number == 0:
                click.echo(f"  the end of its log (`gpujobs logs {job['id']}` prints all):", err=err)
            click.echo(f"    {output.printable(line.decode(errors='replace').rstrip())}", err=err)


def _device_use(client: Client, job: dict[str, Any], err: bool) -> None:
    """What it has made of its device, and what to do about it."""
    from gpujobs.measured.words import lines

    if job["attempt"]:
        for line in lines(client.get(f"/v1/jobs/{job['id']}").get("device_use")):
            click.echo(output.indented(line), err=err)


def _prediction(name: str, prediction: dict[str, Any], err: bool) -> None:
    """Predicted and expected classes or numbers, one under the other; a long series is cut."""
    click.echo(f"  {output.printable(name)}", err=err)
    predicted = prediction.get("y_class") or prediction.get("y_pred")
    for label, values in (("predicted", predicted), ("expected", prediction.get("y_true"))):
        if isinstance(values, list) and values:
            text = " ".join(map(_shown, values[:PREDICTIONS_SHOWN]))
            more = " ..." if _is_cut(prediction, values) else ""
            click.echo(f"    {label:<10} {output.printable(text)}{more}", err=err)
    if prediction.get("accuracy") is not None:
        click.echo(f"    accuracy   {prediction['accuracy']:.4g}", err=err)
    for key, shape in (prediction.get("states") or {}).items():
        click.echo(
            f"    {output.printable(key)}: {' x '.join(map(str, shape))}, in {prediction['file']}", err=err
        )


def _is_cut(prediction: dict[str, Any], values: list[Any]) -> bool:
    return len(values) > PREDICTIONS_SHOWN or prediction.get("count", 0) > len(values)


def _shown(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def shorter(path: Path) -> str:
    """The path as it is, or relative to the current directory where that is shorter."""
    return min(str(path), os.path.relpath(path), key=len)
