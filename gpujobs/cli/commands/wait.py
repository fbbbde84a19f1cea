"""gpujobs wait"""

from __future__ import annotations

import signal
from typing import Any

import click

from gpujobs import units
from gpujobs.cli import app, output
from gpujobs.cli.choosing import Selection, choosing
from gpujobs.errors import DaemonUnreachableError, GpujobsError, UsageError

LONGEST_SECONDS = 366 * 86400
SHOWN = 20
"""Jobs that a message names."""


class Duration(click.ParamType[float]):
    """Seconds, or a time such as 1h30m."""

    name = "duration"

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            seconds = float(value)
        except ValueError:
            try:
                seconds = units.seconds(value)
            except ValueError:
                self.fail(f"{value!r}; expected seconds, or a time such as 5m, 1h30m or 1:30:00.", param, ctx)
        if not 0 < seconds < LONGEST_SECONDS:
            self.fail(f"{value!r}; expected more than nothing, and less than a year.", param, ctx)
        return seconds


class WaitTimeout(GpujobsError):
    """Exit code 1: a job did not complete in time."""


@app.command("wait", "gpujobs wait 7 8 --timeout 1h")
@choosing()
@click.option(
    "--timeout",
    type=Duration(),
    metavar="TIME",
    help="Give up after so long, such as 90, 5m or 1h30m; the jobs go on.",
)
@app.json_option
def command(chosen: Selection, timeout: float | None, as_json: bool) -> None:
    """The exit code is 1 where a job did not complete, or not in time."""
    client = app.client()
    unique = chosen.numbers(client)
    if not unique:
        raise UsageError(f"no job is as asked for ({chosen}); `gpujobs status --all` lists what there is")
    jobs: dict[int, dict[str, Any]] = {}

    def give_up(_signal: int, _frame: object) -> None:
        waiting = [str(id) for id in unique if id not in jobs or not output.has_ended(jobs[id])]
        listed = ", ".join(waiting[:SHOWN]) + (f" and {len(waiting) - SHOWN} more" if waiting[SHOWN:] else "")
        said = f"jobs {listed} have" if waiting[1:] else f"job {listed} has"
        raise WaitTimeout(
            f"{said} not ended after {timeout:g} s; {'they go' if waiting[1:] else 'it goes'} on."
        )

    signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, timeout or 0)
    for job in client.watch(unique):
        jobs[job["id"]] = job
    signal.setitimer(signal.ITIMER_REAL, 0)
    if any(id not in jobs or not output.has_ended(jobs[id]) for id in unique):
        raise DaemonUnreachableError("the daemon ended before the jobs did; start it with `gpujobs serve &`.")
    ended = [jobs[id] for id in unique]
    if as_json:
        output.print_json(ended)
    else:
        for job in ended:
            why = output.progress(job) if job["state"] != "COMPLETED" else ""
            click.echo(output.printable(f"{job['id']} {job['name'] or '-'}: {job['state']} {why}".rstrip()))
    if any(job["state"] != "COMPLETED" for job in ended):
        raise click.exceptions.Exit(1)
