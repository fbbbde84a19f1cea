"""The UNIX groups of those who have jobs, for shares, limits and reservations that name groups."""

from __future__ import annotations

import asyncio
import grp
import os
import pwd
import time
from collections.abc import Iterable, Mapping

FRESH_SECONDS = 300.0
"""The directory service of a site may be slow to answer, and is asked again after this time."""


class Membership:
    def __init__(self) -> None:
        self._groups: dict[str, tuple[str, ...]] = {}
        self._asked: dict[str, float] = {}

    @property
    def groups(self) -> Mapping[str, tuple[str, ...]]:
        """The names of the groups of each user, the primary one first."""
        return self._groups

    async def learn(self, users: Iterable[str]) -> None:
        """Asks the system, in a thread, for those of whom nothing fresh is known."""
        now = time.monotonic()
        stale = [user for user in set(users) if now - self._asked.get(user, -FRESH_SECONDS) >= FRESH_SECONDS]
        if stale:
            found = await asyncio.to_thread(lambda: {user: groups_of(user) for user in stale})
            self._groups |= found
            self._asked |= dict.fromkeys(stale, now)


def groups_of(user: str) -> tuple[str, ...]:
    """None for a user, or a group, whom the system does not know any more."""
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        return ()
    names = []
    for number in dict.fromkeys([entry.pw_gid, *os.getgrouplist(user, entry.pw_gid)]):
        try:
            names.append(grp.getgrgid(number).gr_name)
        except KeyError:
            continue
    return tuple(names)
