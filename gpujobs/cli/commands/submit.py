"""gpujobs submit"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from gpujobs.cli import app, output
from gpujobs.cli.times import INSTANT
from gpujobs.errors import Interrupted

if TYPE_CHECKING:
    from gpujobs.client import Client

SHOWN = 20
"""Jobs that are listed one by one."""


def submission_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that `submit` and `run` share. What a device must be like is a setting as by `--set`."""

    @wraps(function)
    def with_places(
        *args: Any,
        sets: tuple[str, ...],
        node: tuple[str, ...],
        gpu_name: str | None,
        gpu_memory: str | None,
        **options: Any,
    ) -> Any:
        asked = tuple(places(node, gpu_name, gpu_memory))
        if twice := overrides(asked).keys() & overrides(sets).keys():
            raise click.UsageError(f"expected {min(twice)} by --set or by its own option, not both.")
        return function(*args, sets=(*sets, *asked), **options)

    command: Callable[..., Any] = with_places
    for option in reversed(
        (
            click.argument("files", nargs=-1, required=True, metavar="FILE..."),
            click.option(
                "--set", "sets", multiple=True, metavar="KEY=VALUE", help="Override a field; repeatable."
            ),
            click.option("--name", help="Name the job."),
            click.option(
                "--node",
                multiple=True,
                metavar="NAME",
                help="Start on this node; repeat it for one of several.",
            ),
            click.option("--gpu-name", metavar="PATTERN", help="On a GPU called so: H100, or '*A100*80GB'."),
            click.option(
                "--gpu-memory", metavar="SIZE", help="On a shared GPU with so much for it: 3GiB, or auto."
            ),
            click.option(
                "--priority", type=click.IntRange(-1_000_000, 1_000_000), help="Higher ones start first."
            ),
            click.option("--hold", is_flag=True, help="Do not start it before `gpujobs release`."),
            click.option(
                "--after",
                multiple=True,
                type=app.Reference(),
                metavar="ID|GROUP",
                help="Start when it, or every job of it, has completed; repeatable.",
            ),
            click.option(
                "--after-any",
                multiple=True,
                type=app.Reference(),
                metavar="ID|GROUP",
                help="Start when it has ended, however; repeatable.",
            ),
            click.option(
                "--after-failed",
                multiple=True,
                type=app.Reference(),
                metavar="ID|GROUP",
                help="Start when it has ended, and it (or a job of it) did not complete; repeatable.",
            ),
            click.option(
                "--begin",
                "begin_at",
                type=INSTANT,
                metavar="TIME",
                help="Not before: 18:30, 2026-12-24T18:30 or +90m.",
            ),
            click.option(
                "--retries", type=click.IntRange(min=0), help="How often to try again after a crash."
            ),
        )
    ):
        command = option(command)
    return command


def places(node: Sequence[str], gpu_name: str | None, gpu_memory: str | None) -> Iterator[str]:
    """What these options are short for."""
    if node:
        yield f"resources.node={json.dumps(node if len(node) > 1 else node[0], ensure_ascii=False)}"
    if gpu_name is not None:
        yield f"resources.gpu_name={json.dumps(gpu_name, ensure_ascii=False)}"
    if gpu_memory is not None:
        yield f"resources.gpu_memory={gpu_memory}"


def overrides(sets: tuple[str, ...]) -> dict[str, str]:
    values = {}
    for text in sets:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise click.BadParameter(
                f"{text!r}; expected KEY=VALUE, for example training.epochs=5.", param_hint="--set"
            )
        values[key.strip()] = value
    return values


def submit(
    client: Client, files: tuple[str, ...], sets: tuple[str, ...], **options: Any
) -> list[dict[str, Any]]:
    """Queues these files, all or none."""
    from gpujobs.client.api import is_said
    from gpujobs.client.delivery import deliver
    from gpujobs.client.submission import read_job_files

    given = {key: value for key, value in options.items() if is_said(value)}
    if given.get("begin_at") is not None:
        given["begin_at"] = given["begin_at"].isoformat()
    body = {"set": overrides(sets), "options": given}
    return deliver(client, read_job_files(files), body, sys.argv[1:], _say)


def _say(text: str) -> None:
    click.echo(f"gpujobs: {output.message(text)}", err=True)


def interrupted(error: Interrupted) -> None:
    """What was queued before Ctrl-C, where that is known."""
    if error.jobs is None:
        _say(
            "interrupted; whether the jobs were queued is not known: see `gpujobs status`, or give the same command, "
            "which takes up the same request"
        )
    elif not error.jobs:
        _say("interrupted; nothing was queued")
    else:
        _say("interrupted, but these were queued; the same command within a minute queues nothing more:")
        click.echo("\n".join(_queued(error.jobs)), err=True)


@app.command("submit", "gpujobs submit --set training.epochs=50 --name long jobs/tutorial.yaml")
@submission_options
@click.option("--follow", is_flag=True, help="Show the progress until the jobs have ended.")
@click.option("--wait", is_flag=True, help="Wait for the end; print state, exit code and the last lines.")
@app.json_option
def command(files: tuple[str, ...], follow: bool, wait: bool, as_json: bool, **options: Any) -> None:
    """With --follow or --wait, the exit code is 1 where a job did not complete. What one job leaves out of its data
    is said once it is queued, as `gpujobs check` says it."""
    if follow and wait:
        raise click.UsageError("expected --follow or --wait, not both.")
    from gpujobs.client.submission import read_job_files

    overrides(options["sets"])
    read_job_files(files)
    client = app.client()
    try:
        jobs = submit(client, files, **options)
    except Interrupted as error:
        interrupted(error)
        raise click.exceptions.Exit(130) from None
    if as_json and not wait:
        output.print_json(jobs)
    else:
        click.echo("\n".join(_queued(jobs)), err=as_json)
    if not as_json:
        from gpujobs.cli import left_out

        for line in left_out.lines(client, files, overrides(options["sets"]), jobs):
            click.echo(output.indented(line))
    if wait:
        from gpujobs.cli.waiting import wait_for

        if not wait_for(client, [job["id"] for job in jobs], as_json=as_json):
            raise click.exceptions.Exit(1)
    if follow:
        from gpujobs.cli.follow import follow_jobs

        if not follow_jobs(client, [job["id"] for job in jobs], err=as_json):
            raise click.exceptions.Exit(1)


def _queued(jobs: list[dict[str, Any]]) -> list[str]:
    """A line for each job; a sweep's jobs are one, and so are many others."""
    lines, groups = [], dict[object, list[dict[str, Any]]]()
    for job in jobs:
        groups.setdefault(job.get("group_id"), []).append(job)
    alone = groups.pop(None, [])
    if len(alone) > SHOWN:
        lines.append(f"{len(alone)} jobs queued: {alone[0]['id']} to {alone[-1]['id']}")
    else:
        lines += [f"{job['id']} {output.printable(job['name'])} queued{_when(job)}" for job in alone]
    for group, members in groups.items():
        name, ids = output.printable(members[0]["group"]), f"{members[0]['id']} to {members[-1]['id']}"
        lines.append(f"g{group} {name} queued: {len(members)} jobs, {ids}")
    return lines


def _when(job: dict[str, Any]) -> str:
    """Why it waits and until when, where that is known."""
    expected = job.get("expected_start")
    return (
        f"; it should start at {output.local_time(expected)}"
        if expected and not output.is_near(expected)
        else ""
    )
