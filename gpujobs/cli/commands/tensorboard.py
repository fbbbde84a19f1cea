"""gpujobs tensorboard"""

from __future__ import annotations

import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gpujobs.cli import app, browser
from gpujobs.cli.choosing import Selection, choosing
from gpujobs.errors import DaemonUnreachableError

if TYPE_CHECKING:
    from gpujobs.cli.board import Board
    from gpujobs.client import Client

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@app.command("tensorboard", "gpujobs tensorboard 7 g12")
@choosing(required=False)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Of 127.0.0.1; by default a free one.")
@click.option("--no-browser", is_flag=True, help="Only print the link.")
def command(chosen: Selection, port: int, no_browser: bool) -> None:
    """Runs are named by job, those of a sweep by what it sets for them; what runs is followed. Without jobs: your own,
    the newest 100. It is served to you alone until Ctrl-C, and leaves nothing. From another machine, forward the port:
    `ssh -L PORT:127.0.0.1:PORT BOX`."""
    from gpujobs.cli import board, boardserver

    boardserver.require()
    client = app.reading_client()
    with _ended_by_signals(), tempfile.TemporaryDirectory(prefix="gpujobs-tensorboard-") as directory:
        made = board.make(client, chosen, Path(directory))
        url = boardserver.serve(Path(directory) / "runs", port)
        click.echo(url)
        click.echo(f"{_said(made)}, for you alone; Ctrl-C ends it", err=True)
        if not no_browser:
            browser.open_where_there_is_one(url)
        _until_ended(client, made)


def _said(made: Board) -> str:
    jobs = "1 job" if made.runs == 1 else f"{made.runs} jobs"
    some = f" (the newest of {made.of}; name others by their ids)" if made.of > made.runs else ""
    return f"TensorBoard of {jobs}{some}"


def _until_ended(client: Client, made: Board) -> None:
    from gpujobs.cli import board

    try:
        if made.live and not client.is_of_files:
            board.follow(client, made)
    except DaemonUnreachableError as error:
        click.echo(f"gpujobs: {error}; the curves stay as they are", err=True)
    threading.Event().wait()


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Ctrl-C, SIGTERM and SIGHUP end it, whatever it does, and it cleans up, which the next one does not disturb."""
    numbers = [
        one for one in ENDING if one != signal.SIGHUP or signal.getsignal(one) != signal.SIG_IGN
    ]  # nohup

    def end(*_: object) -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in numbers:
        signal.signal(number, end)
    with suppress(KeyboardInterrupt):
        yield
