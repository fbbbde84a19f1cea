"""What `gpujobs doctor` says of certificates, and of a box that has joined another's queue."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

from gpujobs.cluster.box import Box, remembered
from gpujobs.cluster.certificates import ANEW, WARN_DAYS, TlsFiles, ends
from gpujobs.cluster.obstacles import trial
from gpujobs.errors import GpujobsError, in_words
from gpujobs.linux import statelock
from gpujobs.linux.durable import DamagedError
from gpujobs.model import utc_now
from gpujobs.paths import StatePaths

Finding = tuple[str, bool | None, str]

ON_THE_HEAD = "restart the daemon, which makes another"
RENEW = "`gpujobs node renew` on the head's box makes another, and gives the boxes that are there theirs"
ON_A_NODE = "`systemctl restart gpujobs-node`: it joins again, and is given another"


def of_certificates(files: TlsFiles, renewal: str) -> Finding:
    """`renewal`: how this box gets another one of its own."""
    try:
        box, authority = ends(files.box), ends(files.authority)
    except GpujobsError as error:
        return "certificates", False, error.message
    another = ANEW if authority < utc_now() else RENEW
    for end, what, remedy in ((authority, "the cluster's authority", another), (box, "this box", renewal)):
        if (left := (end - utc_now()).days) < WARN_DAYS:
            when = f"end on {end:%Y-%m-%d}, in {left} days" if left >= 0 else f"ended on {end:%Y-%m-%d}"
            return "certificates", False, f"those of {what} {when}: {remedy}"
    return (
        "certificates",
        True,
        f"this box's lasts until {box:%Y-%m-%d}, the cluster's authority until {authority:%Y-%m-%d}",
    )


def of_a_node(paths: StatePaths) -> Iterator[Finding]:
    """Nothing where this box has joined no other. Asks the head what would be in the way of joining now."""
    try:
        box = remembered(paths)
    except (GpujobsError, DamagedError) as error:
        yield "node", False, f"{paths.membership}: {error}"
        return
    if box is None:
        return
    holder = statelock.holder(paths.lock)
    if holder is None:
        words = f"{box.name} belongs to the queue of {box.where}, but `gpujobs node join` does not run"
        yield "node", False, f"{words}: `systemctl start gpujobs-node`"
    else:
        yield (
            "node",
            True,
            f"{box.name} belongs to the queue of {box.where}; `node join` runs (pid {holder.pid})",
        )
    yield _head(box)
    if box.tls is None:
        yield (
            "certificates",
            None,
            "what crosses the network is not encrypted: [cluster] tls is off on the head's box",
        )
    elif box.tls.box.exists():
        yield of_certificates(box.tls, ON_A_NODE)
    yield _users(paths)


def _head(box: Box) -> Finding:
    try:
        welcome = asyncio.run(trial(box))
    except GpujobsError as error:
        return "head", False, error.message
    except OSError as error:  # it has hung up while something was said to it
        return "head", False, f"{box.where} has closed the connection: {in_words(error)}"
    words = "versions, clocks, token, user, name, and ports in both directions are well"
    return "head", True, f"{welcome.name} at {box.where} would take this box as {welcome.address}: {words}"


def _users(paths: StatePaths) -> Finding:
    """Those whose data is here."""
    import pwd

    if os.geteuid() != 0:
        return "users", True, "all jobs run here as the user of `node join`"
    known = {entry.pw_uid for entry in pwd.getpwall()}
    missing = sorted(uid for uid in _uids(paths.spool / "data") if uid not in known)
    if missing:
        words = "no user of this box; expected the users of the head's box, by name and uid"
        return "users", False, f"uid {', '.join(map(str, missing))}, whose data is here, is {words}"
    return "users", True, "all whose data is here are users of this box"


def _uids(data: Path) -> list[int]:
    try:
        return [int(path.name) for path in data.iterdir() if path.name.isdecimal()]
    except OSError:
        return []
