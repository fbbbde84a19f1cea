"""gpujobs logs"""

from __future__ import annotations

import codecs
import sys
from typing import TYPE_CHECKING

import click

from gpujobs.cli import app, output
from gpujobs.cli.choosing import Selection, choosing

if TYPE_CHECKING:
    from gpujobs.client import Client


@app.command("logs", "gpujobs logs -f 7")
@choosing()
@click.option("-f", "--follow", is_flag=True, help="Go on until the job has ended.")
@click.option(
    "--attempt", type=click.IntRange(min=1), metavar="N", help="Of this attempt; default: the last."
)
@click.option("--tail", type=click.IntRange(min=0), metavar="N", help="Only the last N lines.")
def command(chosen: Selection, follow: bool, attempt: int | None, tail: int | None) -> None:
    """What a waiting job waits for is said on the standard error. -f goes on with the next attempt of a job that is
    queued again, unless --attempt names one."""
    client = app.reading_client()
    id = chosen.one(client)
    follow = follow and not client.is_of_files
    if follow:
        _wait_for_start(client, id)
    goes_on = follow and attempt is None
    shown = attempt or (_attempt_to_show(client, id) if goes_on else None)
    written = _show(client, id, follow, shown, tail)
    if goes_on:
        written |= _follow_further(client, id, shown or 1)
    if not written and tail != 0:
        (job,) = client.get("/v1/jobs", ids=[id])["jobs"]
        click.echo(f"gpujobs: {output.printable(_nothing(job))}", err=True)


def _show(client: Client, id: int, follow: bool, attempt: int | None, tail: int | None) -> bool:
    """Whether there was anything."""
    written, show = False, Writer()
    with client.open(f"/v1/jobs/{id}/log", follow=follow, attempt=attempt, tail=tail) as log:
        while piece := log.read1():
            show(piece)
            written = True
        show(b"")
    return written


def _attempt_to_show(client: Client, id: int) -> int | None:
    """The last one; None before the first."""
    (job,) = client.get("/v1/jobs", ids=[id])["jobs"]
    return job["attempt"] or None


def _follow_further(client: Client, id: int, shown: int) -> bool:
    """The attempts that come after the one that was shown, until the job has ended."""
    written = False
    while (number := _next_attempt(client, id, shown)) is not None:
        click.echo(f"gpujobs: attempt {number} of job {id}:", err=True)
        written |= _show(client, id, True, number, None)
        shown = number
    return written


def _next_attempt(client: Client, id: int, shown: int) -> int | None:
    """Waits for it, and says what it waits for; None where the job has ended without."""
    said = None
    for job in client.watch([id]):
        if job["attempt"] > shown:
            return shown + 1
        if job["state"] == "PENDING" and (why := output.progress(job)) != said:
            click.echo(f"gpujobs: job {id} is queued again: {output.printable(why)}", err=True)
            said = why
    return None


def _wait_for_start(client: Client, id: int) -> None:
    """Says why, again where that changes."""
    said = None
    for job in client.watch([id]):
        if job["state"] != "PENDING" or job["attempt"]:
            return
        if (why := output.progress(job)) != said:
            click.echo(f"gpujobs: job {id} waits: {output.printable(why)}", err=True)
            said = why


def _nothing(job: dict[str, object]) -> str:
    why = output.progress(job)
    return (
        f"job {job['id']} is {job['state']} and has no log{' yet' if not output.has_ended(job) else ''}"
        + (f": {why}" if why else "")
    )


class Writer:
    """Of a log's bytes, in the encoding of the standard output; UTF-8 as it is."""

    def __init__(self) -> None:
        is_utf8 = sys.stdout.encoding.lower().replace("-", "") == "utf8"
        self._decoder = None if is_utf8 else codecs.getincrementaldecoder("utf-8")("replace")

    def __call__(self, piece: bytes) -> None:
        """Empty at the end."""
        if self._decoder is None:
            sys.stdout.buffer.write(piece)
        else:
            sys.stdout.write(self._decoder.decode(piece, final=not piece))
        sys.stdout.flush()
