"""What this checkout is measured beside: another one, or itself where no trainer takes a next job over."""

from __future__ import annotations

from benchmarks.support.daemon import Daemon
from benchmarks.support.options import Options

ALONE = "[trainers]\nresident = false\n"


def name(options: Options) -> str:
    if options.before is not None:
        return f"gpujobs of {options.before.name}"
    return "gpujobs, each job in a process of its own"


def daemon(options: Options, slots: int, *, is_site: bool = False) -> Daemon:
    if options.before is not None:
        return Daemon(slots, tree=options.before, is_site=is_site)
    return Daemon(slots, config=ALONE, is_site=is_site)
