"""What a caller may do: the site's configuration, asked anew for each request.

| right | the owner | root | the admin group | the share group, for `share: lab` |
| --- | --- | --- | --- | --- |
| change: cancel, hold, release, requeue, prioritize | yes | yes | yes | |
| look into: show | yes | yes | yes | yes |
| read: log, results, the model for a prediction | yes | yes | | yes |
"""

from __future__ import annotations

import functools
import grp
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from gpujobs.config.site import Access
from gpujobs.daemon.access.identity import user_name
from gpujobs.errors import NotPermittedError
from gpujobs.model import Caller, Job, Outline, Share

Right = Callable[[Caller, Job | Outline], bool]


def may_change(caller: Caller, job: Job | Outline) -> bool:
    return caller.is_admin or caller.uid == job.uid


def may_read(caller: Caller, job: Job | Outline) -> bool:
    return caller.uid in (job.uid, 0) or (job.share is Share.LAB and caller.reads_shared)


def may_look_into(caller: Caller, job: Job | Outline) -> bool:
    return may_change(caller, job) or may_read(caller, job)


def sees_names_of(caller: Caller, job: Job | Outline) -> bool:
    return caller.sees_names or may_look_into(caller, job)


def require(right: Right, caller: Caller, job: Job, verb: str) -> None:
    """Raises NotPermittedError, which says what was refused: `verb` is what the caller wanted to do."""
    if not right(caller, job):
        owner = job.user if caller.sees_names else "somebody else"
        raise NotPermittedError(f"job {job.id} belongs to {owner}; {caller.user} may not {verb} it")


def require_admin(caller: Caller, verb: str) -> None:
    """Raises NotPermittedError for those who are neither root nor of the admin group."""
    if not caller.is_admin:
        raise NotPermittedError(f"{caller.user} may not {verb}; ask an administrator of this site")


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """Lets callers in, with their rights. Groups are looked up by name at each request, so that a change of
    their ids or a group that is made later counts at once; membership is what the kernel has of the
    connection's process, as for files."""

    is_site: bool
    access: Access

    def admit(self, caller: Caller) -> Caller:
        """Raises NotPermittedError where this daemon does not serve the caller."""
        if not self.is_site:
            return _admit_own(caller)
        if caller.uid == _nobody():
            raise NotPermittedError(
                f"uid {caller.uid} stands for users that this machine cannot tell apart; "
                "submit from outside of the container, or as a user of this machine"
            )
        is_admin = caller.uid == 0 or _is_member(caller, self.access.admin_group)
        return replace(
            caller,
            is_admin=is_admin,
            reads_shared=_is_member(caller, self.access.share_group),
            sees_names=is_admin or not self.access.hide_names,
        )

    @property
    def share_gid(self) -> int | None:
        """The group that reads jobs with `share: lab`; None where there is none, as under a personal daemon."""
        return group_id(self.access.share_group) if self.is_site else None

    @property
    def default_share(self) -> Share:
        shares = self.access.share_by_default and self.share_gid is not None
        return Share.LAB if shares else Share.PRIVATE

    def missing_groups(self) -> list[str]:
        """Those that the configuration names and the machine does not know."""
        named = (self.access.admin_group, self.access.share_group)
        return [name for name in named if self.is_site and name is not None and group_id(name) is None]

    def describe(self) -> str:
        """The mode and who may do what, for `serve`, `doctor` and the log."""
        if not self.is_site:
            own = user_name(os.geteuid())
            return f"personal daemon: serves {own} only and refuses everybody else; jobs run as {own}"
        admins, readers = self.access.admin_group, self.access.share_group
        return (
            "site daemon: serves everybody on this machine; each job runs as the user who submitted it; "
            f"admins: root{f' and group {admins}' if admins else ''}; results are private"
            + (f", or with share: lab read by group {readers}" if readers else "")
            + (" (the default)" if readers and self.access.share_by_default else "")
            + ("; other people's names are hidden" if self.access.hide_names else "")
        )


def group_id(name: str | None) -> int | None:
    if name is None:
        return None
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None


def _is_member(caller: Caller, name: str | None) -> bool:
    gid = group_id(name)
    return gid is not None and gid in (caller.gid, *caller.groups)


def _admit_own(caller: Caller) -> Caller:
    """A personal daemon serves the user that it runs as, and nobody else."""
    if caller.uid != os.geteuid():
        raise NotPermittedError(
            f"this is the personal daemon of {user_name(os.geteuid())}; "
            "ask the administrator for a site daemon, or run `gpujobs serve` of your own"
        )
    return replace(caller, is_admin=True)


@functools.cache
def _nobody() -> int:
    """The uid that the kernel reports for every user of another user namespace."""
    return int(Path("/proc/sys/kernel/overflowuid").read_text())
