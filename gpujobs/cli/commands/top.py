"""gpujobs top"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from gpujobs.cli import app, output, streams
from gpujobs.errors import UsageError

if TYPE_CHECKING:
    from gpujobs.top.drawing import Drawing


@app.command("top", "gpujobs top")
def command() -> None:
    """Devices with memory, load, temperature, jobs and strangers; the queue, one's own jobs first; the log and the
    learning curve of the selected job; the time line. q ends it, ? shows the keys, / filters. Without colours where
    NO_COLOR says so."""
    _require_terminal()
    socket = app.client().socket
    from gpujobs.top.app import Top

    if code := Top(socket, drawing()).run_until_ended():
        raise click.exceptions.Exit(code)


def drawing() -> Drawing:
    """What this view shares with other commands."""
    from gpujobs.cli.braille import lines as curve
    from gpujobs.cli.cells import cut, shortened
    from gpujobs.cli.lanes import lines as lanes
    from gpujobs.top.drawing import Drawing

    return Drawing(
        message=output.message,
        cut=cut,
        shortened=shortened,
        elapsed=_elapsed,
        curve=lambda panel, width, colour, rows: curve(panel, 1, width, colour, rows),
        lanes=lanes,
    )


def _elapsed(shown: Mapping[str, Any]) -> str:
    return output.duration(output.elapsed(dict(shown)))


def _require_terminal() -> None:
    """Keys come from the standard input, and textual draws on the standard errors."""
    for name, stream in (("input", sys.stdin), ("output", sys.stdout), ("errors", sys.stderr)):
        if not stream.isatty():
            raise UsageError(
                f"top draws on a terminal, and standard {name} is none; `gpujobs status --watch` follows the queue "
                "in a pipe or a file"
            )
    if streams.is_dumb() or isinstance(sys.stderr, streams.AsciiStream):
        raise UsageError(
            "top needs a terminal that can be drawn on, with UTF-8 (TERM and LANG say what it is); "
            "`gpujobs status --watch` follows the queue on any"
        )
