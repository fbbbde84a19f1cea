"""gpujobs run"""

from __future__ import annotations

from typing import Any

import click

from gpujobs.cli import app
from gpujobs.cli.commands.submit import overrides, submission_options, submit
from gpujobs.cli.follow import follow_jobs
from gpujobs.client import Client
from gpujobs.client.submission import read_job_files
from gpujobs.errors import DaemonUnreachableError, DriverError


@app.command("run", "gpujobs run jobs/tutorial.yaml")
@submission_options
@click.option("--cpu-slots", type=click.IntRange(min=1), help="Of an embedded daemon: jobs at once.")
@app.json_option
def command(files: tuple[str, ...], cpu_slots: int | None, as_json: bool, **options: Any) -> None:
    overrides(options["sets"])
    read_job_files(files)
    try:
        client = app.client()
    except DaemonUnreachableError:
        completed = _run_embedded(files, cpu_slots, as_json, options)
    else:
        completed = _run_shared(client, files, as_json, options)
    if not completed:
        raise click.exceptions.Exit(1)


def _run(
    client: Client,
    files: tuple[str, ...],
    as_json: bool,
    options: dict[str, Any],
    ids: list[int],
    *,
    needs_driver: bool = False,
) -> bool:
    """`ids` is filled as soon as the jobs exist, for whoever handles an interruption."""
    ids += [job["id"] for job in submit(client, files, **options)]
    completed = follow_jobs(client, ids, err=as_json, needs_driver=needs_driver)
    if as_json:
        from gpujobs.cli.output import print_json

        print_json(client.get("/v1/jobs", ids=ids)["jobs"])
    return completed


def _run_shared(client: Client, files: tuple[str, ...], as_json: bool, options: dict[str, Any]) -> bool:
    ids: list[int] = []
    try:
        return _run(client, files, as_json, options, ids)
    except KeyboardInterrupt:
        numbers = " ".join(str(id) for id in ids)
        if ids:
            click.echo(
                f"\ngpujobs: interrupted; the jobs go on: `gpujobs status {numbers}`, "
                f"`gpujobs logs -f {ids[0]}`, `gpujobs cancel {numbers}`",
                err=True,
            )
        raise click.exceptions.Exit(130) from None


def _run_embedded(
    files: tuple[str, ...], cpu_slots: int | None, as_json: bool, options: dict[str, Any]
) -> bool:
    from gpujobs.cli.embedded import embedded_daemon
    from gpujobs.config import resolve

    flags = {**app.flags(), "cpu_slots": cpu_slots}
    settings = resolve(flags, mode="embedded")
    click.echo("no daemon is running: starting one for this run", err=True)
    ids: list[int] = []
    with embedded_daemon(flags, settings.socket) as client:
        try:
            return _run(client, files, as_json, options, ids, needs_driver=True)
        except DriverError:
            _cancel(client, ids)
            raise
        except KeyboardInterrupt:
            _cancel(client, ids)
            click.echo("\ngpujobs: interrupted; its jobs were cancelled and the daemon stops", err=True)
            raise click.exceptions.Exit(130) from None


def _cancel(client: Client, ids: list[int]) -> None:
    """And waits for their end, which a trainer may take some seconds for."""
    if ids:
        client.post("/v1/jobs/cancel", {"ids": ids})
        for _ in client.watch(ids):
            pass
