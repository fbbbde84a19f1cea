"""Who is let in at the door with a certificate of the cluster: `tls/passes.json` of the head's state directory has the
token files that were written, who has used them, and which boxes were shut out.

The daemon writes token files and shuts out, the head lets in: each reads the file anew, and changes it alone. A box's
certificate names the id of its state directory, and the token file that it was first asked for with.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gpujobs.cluster.certificates import BACKDATED, TlsFiles
from gpujobs.errors import MachineError, NotFoundError
from gpujobs.linux import durable
from gpujobs.linux.durable import DamagedError
from gpujobs.model import utc_now
from gpujobs.protocol import codec
from gpujobs.protocol.codec import Instant, Message, ShapeError, instant

NEW_FILE = "`gpujobs node token FILE` on the head's box writes a new file"
SHORT = 12
"""So many digits of a token's id are shown, and enough to name it."""


@dataclass(frozen=True, slots=True)
class User(Message):
    """A box that has joined with a token file."""

    name: str
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Token(Message):
    """A token file. `id`: the serial number of its certificate. `once`: it is for the first box that joins with it."""

    id: str
    made_at: Instant
    until: Instant | None = None
    once: bool = False
    used_by: tuple[User, ...] = ()
    revoked_at: Instant | None = None

    @property
    def short(self) -> str:
        return self.id[:SHORT]


@dataclass(frozen=True, slots=True)
class ShutOut(Message):
    """A box whose certificates of before that instant are refused. `id`: empty where only its name is known."""

    name: str
    id: str
    at: Instant


@dataclass(frozen=True, slots=True)
class Passes(Message):
    tokens: tuple[Token, ...] = ()
    boxes: tuple[ShutOut, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown(Message):
    """What somebody at the door has shown. `box`: the id of its state directory; empty in a token file's certificate.
    `token`: the id of the token file that it is of, or was first asked for with; empty before there were such ids."""

    name: str
    box: str
    token: str
    issued_at: Instant

    @property
    def is_token(self) -> bool:
        return not self.box and self.name == "token"


def shown_by(peer: Mapping[str, object]) -> Shown:
    """`peer`: as `ssl.SSLSocket.getpeercert` has it."""
    import ssl

    fields = {str(key): str(value) for part in peer["subject"] for key, value in part}  # type: ignore[attr-defined]
    serial, name, box = (
        str(peer["serialNumber"]).lower(),
        fields.get("commonName", ""),
        fields.get("serialNumber", ""),
    )
    issued = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(peer["notBefore"])), UTC) + BACKDATED
    is_token = not box and name == "token"
    token = serial if is_token else fields.get("organizationalUnitName", "")
    return Shown(name=name, box=box, token=token, issued_at=instant(issued))


def path_of(files: TlsFiles) -> Path:
    return files.root / "passes.json"


def known(files: TlsFiles) -> Passes:
    """Raises MachineError where the file is damaged: who was shut out must not come in."""
    path = path_of(files)
    try:
        value = durable.read_json(path)
        return Passes() if value is None else codec.parse(Passes, value)
    except (DamagedError, ShapeError) as error:
        raise MachineError(
            f"{path} is damaged ({error}), so it is not known which certificates are refused; put a copy of it back, "
            "or remove it and make a new authority with `gpujobs node renew`"
        ) from error


# Letting in


def obstacle(passes: Passes, shown: Shown, box: str, joined: Callable[[], set[str]]) -> str | None:
    """Why whoever shows this is not let in as the box of that id, in words. `joined`: the ids of the boxes that belong
    to the cluster."""
    if shown.box and shown.box != box:
        return f"it shows the certificate of another box ({shown.name}), and one is for its box alone; {NEW_FILE}"
    for one in passes.boxes:
        if _is_of(one, shown) and _is_of_before(passes, one, shown):
            return f"the certificate of {shown.name} was revoked at {one.at}; {NEW_FILE}, if it may come back"
    token = next((one for one in passes.tokens if one.id == shown.token), None)
    if token is None:
        return None
    if not shown.is_token:
        if token.revoked_at is not None and box not in joined():
            return f"its certificate is of a token file that was revoked at {token.revoked_at}; {NEW_FILE}"
        return None
    return _of_token(token, box)


def _of_token(token: Token, box: str) -> str | None:
    if token.revoked_at is not None:
        return f"its token file ({token.short}) was revoked at {token.revoked_at}; {NEW_FILE}"
    if token.until is not None and _at(token.until) < utc_now():
        return f"its token file ({token.short}) was for joining until {token.until}; {NEW_FILE}"
    used = [one for one in token.used_by if one.id != box]
    if token.once and used:
        return f"its token file ({token.short}) was for one box, and {used[0].name} has joined with it; {NEW_FILE}"
    return None


def _is_of(one: ShutOut, shown: Shown) -> bool:
    """By its id; by its name where one of both has none."""
    return one.id == shown.box if one.id and shown.box else one.name == shown.name and not shown.is_token


def _is_of_before(passes: Passes, one: ShutOut, shown: Shown) -> bool:
    """By the clock, or, as that may have been set back since, by the token file, which was revoked with the box."""
    ends = (token.revoked_at for token in passes.tokens if token.id == shown.token)
    return _at(shown.issued_at) <= _at(one.at) or any(end and _at(end) <= _at(one.at) for end in ends)


def use(files: TlsFiles, shown: Shown, user: User, joined: Callable[[], set[str]]) -> str | None:
    """Notes that the box is let in with it; why it is not, in words: of two with a token file for one box the second
    is refused."""
    with _changing(files) as change:
        if taken := obstacle(change.passes, shown, user.id, joined):
            return taken
        if shown.is_token:
            token = _token_of(change.passes, shown)
            if user not in token.used_by:
                token = replace(token, used_by=(*token.used_by, user))
                change.passes = _with(change.passes, token)
    return None


def _token_of(passes: Passes, shown: Shown) -> Token:
    """One that an earlier version has written is noted when it is used."""
    found = next((one for one in passes.tokens if one.id == shown.token), None)
    return found or Token(id=shown.token, made_at=shown.issued_at)


# Shutting out


def add_token(files: TlsFiles, token: Token) -> None:
    with _changing(files) as change:
        change.passes = _with(change.passes, token)


def revoke_token(files: TlsFiles, named: str) -> Token:
    """`named`: the first digits of its id. Raises NotFoundError where that names none, or several."""
    with _changing(files) as change:
        found = [one for one in change.passes.tokens if named and one.id.startswith(named.lower())]
        if len(found) != 1:
            listed = ", ".join(one.short for one in change.passes.tokens) or "none"
            raise NotFoundError(f"{named} names no token file, or several; expected one of {listed}")
        token = found[0]
        if token.revoked_at is None:
            token = replace(token, revoked_at=instant(utc_now()))
            change.passes = _with(change.passes, token)
    return token


def shut_out(files: TlsFiles, name: str, box: str | None) -> list[Token]:
    """Refuses what the box has been given, and the token files that it has joined with, which are returned. `box`: its
    id; None for one that belongs to the cluster no more. Raises NotFoundError where nothing is known of it."""
    now = instant(utc_now())
    with _changing(files) as change:
        users = {user for token in change.passes.tokens for user in token.used_by if user.name == name}
        ids = {user.id for user in users} if box is None else {box}
        if not ids:
            raise NotFoundError(f"{name} is no box that has joined here; `gpujobs node list` lists them")
        used = [
            replace(one, revoked_at=one.revoked_at or now)
            for one in change.passes.tokens
            if any(user.id in ids for user in one.used_by)
        ]
        for token in used:
            change.passes = _with(change.passes, token)
        kept = tuple(one for one in change.passes.boxes if one.id not in ids)
        change.passes = replace(
            change.passes, boxes=(*kept, *(ShutOut(name, one, now) for one in sorted(ids)))
        )
    return used


def _with(passes: Passes, token: Token) -> Passes:
    """What has ended long ago is forgotten: its certificate has, too."""
    others = (one for one in passes.tokens if one.id != token.id and not _is_over(one))
    return replace(passes, tokens=(*others, token))


def _is_over(token: Token) -> bool:
    """A box may have asked for certificates with its own until the token file was revoked."""
    if token.until is None:
        return False
    ends = [_at(one) for one in (token.until, token.revoked_at) if one is not None]
    return max(ends) < utc_now() - timedelta(days=731)


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text)


class _Change:
    def __init__(self, passes: Passes) -> None:
        self.passes = passes


@contextmanager
def _changing(files: TlsFiles) -> Iterator[_Change]:
    """From reading to writing: the head and the daemon both change it."""
    lock = durable.lock(path_of(files).with_name("passes.lock"))
    try:
        change = _Change(known(files))
        before = change.passes
        yield change
        if change.passes != before:
            durable.write_json(path_of(files), codec.write(change.passes))
    finally:
        os.close(lock)
