"""How a process that was forked with the daemon's rights gives them up."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from gpujobs.linux import process
from gpujobs.protocol.spec import Identity

OOM_SCORE_ADJ = 300
"""Of at most 1000: when memory runs out, the kernel ends a training first, not a service."""


def become(identity: Identity, *, may_gain: bool = False) -> None:
    """Takes the user's identity, for good. Raises where a way back is left. Nothing changes where it is ours.
    `may_gain`: what it executes may have rights of its own, as a mail program has that hands letters to its queue."""
    if not is_own(identity):
        os.setgroups(identity.groups)
        os.setresgid(identity.gid, identity.gid, identity.gid)
        os.setresuid(identity.uid, identity.uid, identity.uid)
        if os.getresuid() != (identity.uid,) * 3 or os.getresgid() != (identity.gid,) * 3:
            raise PermissionError("the identity of the job's user was not taken")
        if identity.uid != 0:
            try:
                os.setuid(0)
            except PermissionError:
                pass
            else:
                raise PermissionError("it could become root again")
        # Its memory came from the launcher, which has read what other users sent: nobody traces it.
        process.prctl(process.PR_SET_DUMPABLE, 0)
        process.new_session_keyring()
    if not may_gain:
        process.prctl(process.PR_SET_NO_NEW_PRIVS, 1)


def is_own(identity: Identity) -> bool:
    """Whether this process has it, wholly."""
    same = os.getresuid() == (identity.uid,) * 3 and os.getresgid() == (identity.gid,) * 3
    return same and set(os.getgroups()) == set(identity.groups)


def offer_to_oom_killer() -> None:
    """Before the daemon, whose lower score this process has inherited. While it still may: /proc/self belongs
    to root once the identity has changed. Not every container lets it; then all are alike."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE_ADJ))
