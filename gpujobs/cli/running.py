"""Submitting, following and printing in one go: by the daemon that runs, or by one of our own meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from gpujobs.cli import app
from gpujobs.cli.follow import follow_jobs
from gpujobs.errors import DaemonUnreachableError, DriverError, Interrupted

if TYPE_CHECKING:
    from gpujobs.client import Client

Submit = Callable[["Client"], list[dict[str, Any]]]
"""Queues jobs and returns them."""

Report = Callable[["Client", list[int]], object]
"""What is printed as JSON about jobs that have ended."""


After = Callable[["Client", list[int]], None]
"""What is done at the end, where all jobs have completed and the daemon is still there."""


def jobs_report(client: Client, ids: list[int]) -> object:
    return client.get("/v1/jobs", ids=ids)["jobs"]


def run_jobs(
    submit: Submit,
    *,
    cpu_slots: int | None = None,
    report: Report | None = None,
    after: After | None = None,
    is_personal: bool = False,
) -> None:
    """Shows how the jobs go on, or with `report` prints that at the end. Exits with code 1 where a job did
    not complete. `is_personal` starts a daemon of one's own also where the machine has one for everybody."""
    try:
        client = app.client()
    except DaemonUnreachableError:
        if not is_personal:
            _refuse_beside_site()
        _run_embedded(submit, cpu_slots, report, after)
    else:
        _run_shared(client, submit, report, after)


def _refuse_beside_site() -> None:
    """A daemon of one's own knows nothing of the site's queue, limits and reservations."""
    from gpujobs.config.settings import installed_site

    if (found := installed_site(app.flags())) is not None:
        raise DaemonUnreachableError(
            f"this machine has a daemon for everybody ({found}), which does not run; nothing was started beside it: "
            "`systemctl status gpujobs` says more. `gpujobs run --personal` starts one for yourself all the same, "
            "outside of the site's queue, limits and reservations."
        )


@contextmanager
def some_daemon(what: str) -> Iterator[Client]:
    """A client of the daemon that runs, or of one of our own for this `what`."""
    try:
        client = app.client()
    except DaemonUnreachableError:
        _refuse_beside_site()
        with _own_daemon(what, None) as client:
            yield client
    else:
        yield client


@contextmanager
def _own_daemon(what: str, cpu_slots: int | None) -> Iterator[Client]:
    from gpujobs.cli.embedded import embedded_daemon
    from gpujobs.config.settings import resolve

    flags = {**app.flags(), "cpu_slots": cpu_slots}
    settings = resolve(flags, mode="embedded")
    click.echo(f"no daemon is running: starting one for this {what}", err=True)
    with embedded_daemon(flags, settings.socket) as client:
        yield client


def _run(
    client: Client,
    submit: Submit,
    report: Report | None,
    after: After | None,
    ids: list[int],
    *,
    needs_driver: bool = False,
) -> None:
    """`ids` is filled as soon as the jobs exist, for whoever handles an interruption."""
    ids += [job["id"] for job in submit(client)]
    completed = follow_jobs(client, ids, err=report is not None, needs_driver=needs_driver)
    if report is not None:
        from gpujobs.cli.output import print_json

        print_json(report(client, ids))
    if after is not None and completed:
        after(client, ids)
    if not completed:
        raise click.exceptions.Exit(1)


def _run_shared(client: Client, submit: Submit, report: Report | None, after: After | None) -> None:
    ids: list[int] = []
    try:
        _run(client, submit, report, after, ids)
    except Interrupted as error:
        from gpujobs.cli.commands.submit import interrupted

        interrupted(error)
        raise click.exceptions.Exit(130) from None
    except KeyboardInterrupt:
        numbers = " ".join(str(id) for id in ids)
        if ids:
            click.echo(
                f"\ngpujobs: interrupted; the jobs go on: `gpujobs status {numbers}`, "
                f"`gpujobs logs -f {ids[0]}`, `gpujobs cancel {numbers}`",
                err=True,
            )
        raise click.exceptions.Exit(130) from None


def _run_embedded(submit: Submit, cpu_slots: int | None, report: Report | None, after: After | None) -> None:
    ids: list[int] = []
    with _own_daemon("run", cpu_slots) as client:
        try:
            _run(client, submit, report, after, ids, needs_driver=True)
        except DriverError:
            _cancel(client, ids)
            raise
        except KeyboardInterrupt as error:
            if isinstance(error, Interrupted):
                ids = [job["id"] for job in error.jobs or ()]
            _cancel(client, ids)
            click.echo("\ngpujobs: interrupted; its jobs were cancelled and the daemon stops", err=True)
            raise click.exceptions.Exit(130) from None


def _cancel(client: Client, ids: list[int]) -> None:
    """And waits for their end, which a trainer may take some seconds for."""
    if ids:
        client.post("/v1/jobs/cancel", {"ids": ids})
        for _ in client.watch(ids):
            pass
