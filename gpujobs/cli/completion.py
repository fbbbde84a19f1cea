"""What shells offer: files, jobs and groups, states, devices, users.

A parameter is known by its name, so that a command says nothing of it. Jobs and devices are asked of the daemon,
which has a moment to answer: a shell that hangs is worse than one that offers nothing.
"""

from __future__ import annotations

import grp
import pwd
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import click
from click.shell_completion import CompletionItem

DEADLINE_SECONDS = 1.0
FIRST_PERSON_UID = 1000
"""Below are the machine's own users and groups."""

ENDED_TOO = frozenset({"show", "logs", "results", "fetch", "predict", "plot", "requeue", "status", "wait"})
"""Commands that are for jobs which have ended, also or only."""

OFFERED = 1000
"""The newest so many jobs are offered: nobody reads more, and a year has a hundred thousand."""

META = "gpujobs.flags"

Offer = Callable[[click.Context, str], Iterable[CompletionItem]]


def files(ctx: click.Context, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(incomplete, type="file")]


def directories(ctx: click.Context, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(incomplete, type="dir")]


def jobs(ctx: click.Context, incomplete: str, *, groups: bool = True) -> list[CompletionItem]:
    """Numbers, the newest first, and the groups' ids and names."""
    wanted = {"all": True, "newest": OFFERED} if ctx.command.name in ENDED_TOO else {}
    found = _ask(ctx, "/v1/jobs", **wanted).get("jobs", [])
    items = [
        CompletionItem(str(job["id"]), help=f"{job['name'] or '-'} {job['state']}") for job in reversed(found)
    ]
    return _beginning(incomplete, [*items, *(_groups(found) if groups else ())])


def _groups(found: list[dict[str, Any]]) -> Iterator[CompletionItem]:
    named = {job["group_id"]: job["group"] for job in found if job["group_id"] is not None}
    for number, name in sorted(named.items(), reverse=True):
        yield CompletionItem(f"g{number}", help=f"group {name or '-'}")
    for name in dict.fromkeys(name for name in named.values() if name and not name.isdigit()):
        yield CompletionItem(name, help="group")


def devices(ctx: click.Context, incomplete: str) -> list[CompletionItem]:
    found = _ask(ctx, "/v1/gpus").get("devices", [])
    names = list(dict.fromkeys(one["node"] for one in found))
    several = len(names) > 1
    items = [
        CompletionItem(
            f"{one['node']}:{one['index']}" if several else str(one["index"]),
            help=f"{one['name']} {one['state']}",
        )
        for one in found
    ]
    items += [CompletionItem(name, help="all of this node") for name in names if several]
    return _beginning(incomplete, items + [CompletionItem(one["uuid"]) for one in found if incomplete])


def nodes(ctx: click.Context, incomplete: str) -> list[CompletionItem]:
    found = _ask(ctx, "/v1/nodes").get("nodes", [])
    return _beginning(incomplete, [CompletionItem(one["name"], help=one["status"]) for one in found])


def states(ctx: click.Context, incomplete: str) -> list[CompletionItem]:
    """The last of several, which are separated by commas."""
    from gpujobs.model import State

    before, comma, last = incomplete.rpartition(",")
    fitting = [state for state in State if state.startswith(last.upper())]
    return [CompletionItem(f"{before}{comma}{state}") for state in fitting]


def users(ctx: click.Context, incomplete: str) -> list[CompletionItem]:
    return _people(incomplete, ((entry.pw_name, entry.pw_uid) for entry in pwd.getpwall()))


def unix_groups(ctx: click.Context, incomplete: str) -> list[CompletionItem]:
    return _people(incomplete, ((entry.gr_name, entry.gr_gid) for entry in grp.getgrall()))


def _people(incomplete: str, entries: Iterable[tuple[str, int]]) -> list[CompletionItem]:
    names = sorted(name for name, number in entries if number == 0 or number >= FIRST_PERSON_UID)
    return _beginning(incomplete, map(CompletionItem, names))


OFFERS: dict[str, Offer] = {
    "files": files,
    "file": files,
    "data": files,
    "config": files,
    "socket": files,
    "path": files,
    "directory": directories,
    "state_dir": directories,
    "ids": jobs,
    "id": jobs,
    "device": devices,
    "devices": devices,
    "node": nodes,
    "state": states,
    "states": states,
    "user": users,
    "group": unix_groups,
}


def _beginning(incomplete: str, items: Iterable[CompletionItem]) -> list[CompletionItem]:
    return [item for item in items if item.value.startswith(incomplete)]


def _ask(ctx: click.Context, path: str, **query: object) -> dict[str, Any]:
    """The daemon's answer; empty where there is none in time, whatever the cause."""
    import socket

    from gpujobs.client import connect
    from gpujobs.config.settings import sockets
    from gpujobs.errors import GpujobsError

    socket.setdefaulttimeout(DEADLINE_SECONDS)  # of this process, which has nothing else to do
    try:
        return connect(sockets(ctx.meta.get(META, {}))).get(path, **query)
    except (GpujobsError, OSError, ValueError):
        return {}
