"""What a job's log, and `check`, say of its data: how much of it is used, what is left out, why and where."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

SHOWN = 5
"""Places and names that are listed; the others are counted."""

_SAID: ContextVar[set[str] | None] = ContextVar("_SAID", default=None)


@contextmanager
def once() -> Iterator[None]:
    """Within the block nothing is said twice."""
    token = _SAID.set(set())
    try:
        yield
    finally:
        _SAID.reset(token)


def say(lines: Iterable[str]) -> None:
    """Into the log."""
    said = _SAID.get()
    for line in lines:
        if said is None or line not in said:
            print(line, flush=True)
        if said is not None:
            said.add(line)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """`count` of `what` (rows, windows, groups, ...), in words `why`; `where` names the first of them."""

    what: str
    count: int
    why: str
    where: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        what = self.what.removesuffix("s") if self.count == 1 and self.what != "series" else self.what
        places = f" ({listed(self.where, self.count)})" if self.where else ""
        return f"{self.count:,} {what} {self.why}{places}"

    def to_json(self) -> dict[str, Any]:
        return {"what": self.what, "count": self.count, "why": self.why, "where": list(self.where)}


@dataclass(frozen=True, slots=True)
class Account:
    """Of one file. `head`: what there is. `notes`: sentences about it. `makes`: how many windows come of it, called
    `what`."""

    file: str
    head: str
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()
    makes: int | None = None
    what: str = "window"

    @property
    def is_worth_saying(self) -> bool:
        return bool(self.left_out or self.notes or self.makes is not None)

    def lines(self) -> Iterator[str]:
        made = "" if self.makes is None else f" make {n(self.makes, self.what)}"
        left = ", ".join(one.text for one in self.left_out)
        yield f"{self.file}: {self.head}{made}{'; left out: ' * bool(left)}{left}."
        for note in self.notes:
            yield f"{self.file}: {note}"


NOTHING = Account("", "")


def n(count: int, what: str) -> str:
    """`1 row`, `2 rows`, `2 windows to predict for`."""
    noun, *rest = what.split(" ")
    noun += "" if count == 1 else "es" if noun.endswith("ch") else "s"
    return " ".join([f"{count:,}", noun, *rest])


def listed(names: Sequence[str], count: int | None = None) -> str:
    """The first of them, and how many more there are of `count`."""
    count = len(names) if count is None else count
    shown = [str(name) for name in names[:SHOWN]]
    return ", ".join(shown) + (f" and {count - len(shown):,} more" if count > len(shown) else "")
