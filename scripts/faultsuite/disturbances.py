"""What happens to boxes and the links between them: each begins, lasts, and is healed."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import partial

from tests.acceptance.boxes import Box as Space

from .box import kill
from .site import LEASE_SECONDS, Site

SHORT, LONG, BEYOND = (0.3, 6.0), (6.0, LEASE_SECONDS), (LEASE_SECONDS + 6.0, LEASE_SECONDS + 16.0)
"""Seconds that a link is cut: below the lease, and beyond it with what the daemon adds."""

LOSS_PERCENT = 20


@dataclass(frozen=True)
class Disturbance:
    """`seconds`: the range of how long it lasts. `is_cut`: links alone; else something ended, and has to start.
    `steady`: all must be known for so long, since what has ended is not missed at once."""

    kind: str
    weight: int
    seconds: tuple[float, float]
    happen: Callable[[Site, random.Random], AbstractContextManager[str]]
    is_cut: bool = True
    steady: float = 0.0

    @property
    def is_of_one_link(self) -> bool:
        return self.is_cut and self.happen not in (both_links_down, slow, lossy)


def node_of(site: Site, draws: random.Random) -> Space:
    """One whose link is as it should be."""
    space = draws.choice([space for space in site.spaces[1:] if space.name not in site.is_cut])
    site.is_cut.add(space.name)
    return space


@contextmanager
def link_down(site: Site, draws: random.Random) -> Iterator[str]:
    space = node_of(site, draws)
    space.cut()
    yield space.name
    space.heal()


@contextmanager
def both_links_down(site: Site, draws: random.Random) -> Iterator[str]:
    for space in site.spaces[1:]:
        space.cut()
    yield "both"
    for space in site.spaces[1:]:
        space.heal()


@contextmanager
def one_way(site: Site, draws: random.Random, *, is_from_head: bool) -> Iterator[str]:
    space = node_of(site, draws)
    ends = (site.spaces[0], space) if is_from_head else (space, site.spaces[0])
    site.one_way(*ends)
    yield space.name
    site.both_ways(*ends)


@contextmanager
def slow(site: Site, draws: random.Random) -> Iterator[str]:
    """A modem's rate, and a queue before it."""
    space = node_of(site, draws)
    for one in (space, site.spaces[0]):
        site.shape(one, "tbf", "rate", "256kbit", "burst", "4kb", "latency", "400ms")
    yield space.name
    for one in (space, site.spaces[0]):
        site.shape(one)


@contextmanager
def lossy(site: Site, draws: random.Random) -> Iterator[str]:
    space = node_of(site, draws)
    with netem(site, space) if site.has_netem else bursts(space, draws):
        yield space.name


@contextmanager
def netem(site: Site, space: Space) -> Iterator[None]:
    site.shape(space, "netem", "loss", f"{LOSS_PERCENT}%", "delay", "50ms", "30ms")
    yield
    site.shape(space)


@contextmanager
def bursts(space: Space, draws: random.Random) -> Iterator[None]:
    """Where the kernel has no netem: all is lost for moments, again and again, before what is timed begins."""
    for _ in range(12):
        space.cut()
        time.sleep(draws.uniform(0.02, 0.25))
        space.heal()
        time.sleep(draws.uniform(0.05, 0.5))
    yield


@contextmanager
def killed(site: Site, draws: random.Random, *, role: str) -> Iterator[str]:
    """Somewhere. Whoever keeps it up starts it again."""
    spaces = [space for space in site.spaces if site.role(space, role)]
    if not spaces:
        yield ""
        return
    space = draws.choice(spaces)
    kill(site.role(space, role)[:1])
    yield space.name


@contextmanager
def power(site: Site, draws: random.Random, *, is_head: bool) -> Iterator[str]:
    space = site.spaces[0] if is_head else node_of(site, draws)
    site.cut_power_of(space)
    yield space.name
    site.power_back(space)


def kinds() -> tuple[Disturbance, ...]:
    """With how often each is drawn, beside the others."""
    return (
        Disturbance("link down, short", 20, SHORT, link_down),
        Disturbance("link down, below the lease", 9, LONG, link_down),
        Disturbance("link down, beyond the lease", 5, BEYOND, link_down),
        Disturbance("link down, for minutes", 1, (70.0, 110.0), link_down),
        Disturbance("both nodes' links down", 5, (0.3, 15.0), both_links_down),
        Disturbance("one way, to the node", 9, (0.3, 12.0), partial(one_way, is_from_head=True)),
        Disturbance("one way, from the node", 9, (0.3, 12.0), partial(one_way, is_from_head=False)),
        Disturbance("slow link", 4, (3.0, 10.0), slow),
        Disturbance("lossy link", 5, (0.0, 1.0), lossy),
        *(
            Disturbance(f"{role} killed", weight, (0.0, 0.5), partial(killed, role=role), False, steady)
            for role, weight, steady in (
                ("raylet", 2, 6.0), ("GCS", 1, 6.0), ("head", 1, 6.0), ("agent", 3, 3.0), ("launcher", 3, 0.0),
                ("supervisor", 4, 0.0), ("trainer", 4, 0.0), ("daemon", 2, 6.0), ("node join", 2, 6.0),
            )
        ),
        Disturbance("a node's box loses power", 2, (1.0, 8.0), partial(power, is_head=False), False, 6.0),
        Disturbance("the head's box loses power", 1, (1.0, 8.0), partial(power, is_head=True), False, 6.0),
    )  # fmt: skip


def drawn(draws: random.Random, pattern: str) -> Disturbance:
    """One of those that have the pattern in their names. Raises SystemExit where none has."""
    known = [one for one in kinds() if fnmatch(one.kind, f"*{pattern}*")]
    if not known:
        raise SystemExit(
            f"no cut has {pattern!r} in its kind; there are: {', '.join(one.kind for one in kinds())}"
        )
    return draws.choices(known, [one.weight for one in known])[0]
