"""Links that work once, and the cookies that they become. Of both only the hashes are kept."""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from gpujobs.errors import NotPermittedError
from gpujobs.linux import durable
from gpujobs.model import Caller, utc_now

LINK_SECONDS = 60.0
SESSION_SECONDS = 12 * 3600.0
"""After that, a link is asked for anew: with the groups that its user then has."""

OF_ONE_USER = 16
"""Links, and sessions, at the same time: the oldest give way."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Grant:
    """For whom, as the kernel said of whoever asked for the link, and until when (seconds since 1970)."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    user: str
    until: float

    def caller(self) -> Caller:
        return Caller(uid=self.uid, gid=self.gid, pid=0, user=self.user, groups=self.groups)


class Sessions:
    """`file`: where sessions outlive the daemon, so that open pages go on with the next one. `clock`: seconds."""

    def __init__(self, file: Path, clock: Callable[[], float] = lambda: utc_now().timestamp()) -> None:
        self._file = file
        self._clock = clock
        self._links: dict[str, Grant] = {}
        self._sessions: dict[str, Grant] = {}
        self.port = 0
        """On which the pages were served last."""
        with suppress(OSError, durable.DamagedError, ValueError, TypeError, KeyError, AttributeError):
            self._take_over(durable.read_json(file) or {})

    def link(self, caller: Caller) -> tuple[str, datetime]:
        """A token, and until when it works."""
        until = self._clock() + LINK_SECONDS
        token = secrets.token_urlsafe(32)
        grant = Grant(caller.uid, caller.gid, caller.groups, caller.user, until)
        self._links = _with(self._living(self._links), _hash(token), grant)
        return token, utc_now() + timedelta(seconds=LINK_SECONDS)

    def redeem(self, token: str) -> Grant:
        """Raises NotPermittedError; the token is spent in either case."""
        grant = self._links.pop(_hash(token), None)
        if grant is None or grant.until <= self._clock():
            raise NotPermittedError(
                "this link has been used, or is older than a minute; `gpujobs web` prints a new one"
            )
        return grant

    def begin(self, grant: Grant) -> str:
        """The cookie's value."""
        cookie = secrets.token_urlsafe(32)
        session = Grant(grant.uid, grant.gid, grant.groups, grant.user, self._clock() + SESSION_SECONDS)
        self._sessions = _with(self._living(self._sessions), _hash(cookie), session)
        self.save()
        return cookie

    def of(self, cookie: str) -> Grant | None:
        grant = self._sessions.get(_hash(cookie))
        return grant if grant is not None and grant.until > self._clock() else None

    def end(self, cookie: str) -> None:
        self._sessions.pop(_hash(cookie), None)
        self.save()

    def save(self) -> None:
        sessions = {key: asdict(grant) for key, grant in self._living(self._sessions).items()}
        try:
            durable.write_json(self._file, {"port": self.port, "sessions": sessions}, durable=False)
        except OSError as error:
            log.warning("who looks at the pages must log in again after a restart: %s", error)

    def _living(self, grants: dict[str, Grant]) -> dict[str, Grant]:
        now = self._clock()
        return {key: grant for key, grant in grants.items() if grant.until > now}

    def _take_over(self, kept: dict[str, Any]) -> None:
        self._sessions = {
            str(key): Grant(**{**values, "groups": tuple(values["groups"])})
            for key, values in kept.get("sessions", {}).items()
        }
        self.port = int(kept.get("port", 0))


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()


def _with(grants: dict[str, Grant], key: str, grant: Grant) -> dict[str, Grant]:
    """The user's oldest ones give way."""
    own = [one for one, other in grants.items() if other.uid == grant.uid]
    gone = set(own[: max(0, len(own) + 1 - OF_ONE_USER)])
    return {**{one: other for one, other in grants.items() if one not in gone}, key: grant}
