"""How much is measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.support.daemon import Daemon


@dataclass(frozen=True, slots=True)
class Options:
    """`repeat`: rounds; in each round every contender has its turn.

    `daemon`: one that is running already, with an empty queue, for measurements that need no fresh one.
    """

    repeat: int = 3
    jobs: int = 12
    slots: int = 2
    commands: int = 20
    """Calls of each short command."""
    bulk: int = 1000
    """Jobs submitted by one call."""
    waiting: int = 10_000
    ended: int = 100_000
    """Jobs that have ended, in a store that is looked at."""
    longest_queue: int = 100_000
    """Waiting jobs of the policy alone."""
    series: int = 12_000
    """Rows of the input pipeline's series."""
    cases: int | None = None
    """Kinds of files of the input pipeline; none: all."""
    table_bytes: int = 200_000_000
    """Of the csv file that is read."""
    box_bytes: int = 1 << 30
    """Of the data that goes to other boxes."""
    idle_seconds: float = 10.0
    members: tuple[int, ...] = (12, 32, 100)
    """Of sweeps."""
    before: Path | None = None
    """Another checkout of gpujobs, with an environment of its own, to measure beside this one."""
    contenders: tuple[str, ...] = ()
    """Names; none: all that are installed."""
    daemon: Daemon | None = None
    plots: Path | None = None
    """The directory that gets the plots."""
    say: Callable[[str], None] | None = None
    """Is told what has been measured so far."""


def quick(options: Options) -> Options:
    """As little as shows that the measurements work; its figures mean nothing."""
    return replace(
        options,
        repeat=1,
        jobs=1,
        commands=2,
        bulk=20,
        waiting=50,
        ended=200,
        longest_queue=1000,
        series=600,
        cases=1,
        table_bytes=200_000,
        box_bytes=1 << 20,
        idle_seconds=1.0,
        members=(2,),
    )
