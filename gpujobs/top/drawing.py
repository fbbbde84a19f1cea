"""What other commands draw too, given to the view by the command: its room is above this one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gpujobs.results.curves import Panel
from gpujobs.view.timeline import Timeline


@dataclass(frozen=True, slots=True)
class Drawing:
    """Texts come without anything that steers a terminal, except for the colours of `curve` and `lanes`, which take
    `(…, width, colour)`; `curve` also takes the rows between its axes."""

    message: Callable[[object], str]
    """A sentence of the daemon, with its instants in the reader's zone."""

    cut: Callable[[str, int], str]
    """At most so many cells, without the end."""

    shortened: Callable[[str, int], str]
    """At most so many cells, without the middle."""

    elapsed: Callable[[Mapping[str, Any]], str]
    curve: Callable[[Panel, int, bool, int], list[str]]
    lanes: Callable[[Timeline, int, bool], list[str]]
