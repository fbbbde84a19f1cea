"""Who may do what: the table of gpujobs/daemon/access/policy.py."""

from __future__ import annotations

import grp
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gpujobs.config.site import Access
from gpujobs.daemon.access.policy import (
    AccessPolicy,
    may_change,
    may_look_into,
    may_read,
    require,
    sees_names_of,
)
from gpujobs.daemon.api_json import device_event_json
from gpujobs.demand import Demand
from gpujobs.errors import NotPermittedError
from gpujobs.model import Caller, Job, Reason, Share, State, utc_now
from gpujobs.store.devices import DeviceEvent

PRIVATE = Job(
    id=7, name="n", uid=1000, user="alice", state=State.PENDING, reason=Reason.NONE, message="",
    demand=Demand(), submitted_at=utc_now(), started_at=None, ended_at=None, attempt=0, retries=1, retries_used=0,
    held=False, cancel_requested=False,
)  # fmt: skip
SHARED = replace(PRIVATE, share=Share.LAB)

OWNER = Caller(uid=1000, gid=1000, pid=1, user="alice")
ROOT = Caller(uid=0, gid=0, pid=1, user="root", is_admin=True)
ADMIN = Caller(uid=1001, gid=1001, pid=1, user="carol", is_admin=True)
LAB = Caller(uid=1002, gid=1002, pid=1, user="dora", reads_shared=True)
OTHER = Caller(uid=1003, gid=1003, pid=1, user="bob")

RIGHTS = {  # change, look into, read: of a private job, then of a shared one
    "owner": (OWNER, "yyy", "yyy"),
    "root": (ROOT, "yyy", "yyy"),
    "admin": (ADMIN, "yy-", "yy-"),
    "lab": (LAB, "---", "-yy"),
    "other": (OTHER, "---", "---"),
}


@pytest.mark.parametrize("who", RIGHTS)
def test_the_table_of_rights(who: str) -> None:
    caller, *expected = RIGHTS[who]
    for job, granted in zip((PRIVATE, SHARED), expected, strict=True):
        rights = (may_change, may_look_into, may_read)
        assert "".join("y" if right(caller, job) else "-" for right in rights) == granted


def test_a_refusal_names_the_owner_only_to_those_who_may_know() -> None:
    with pytest.raises(NotPermittedError, match="job 7 belongs to alice; bob may not cancel it"):
        require(may_change, OTHER, PRIVATE, "cancel")
    blind = replace(OTHER, sees_names=False)
    with pytest.raises(NotPermittedError, match="job 7 belongs to somebody else; bob may not cancel it"):
        require(may_change, blind, PRIVATE, "cancel")
    assert not sees_names_of(blind, PRIVATE)
    assert sees_names_of(replace(OWNER, sees_names=False), PRIVATE)


@pytest.mark.parametrize("kind", ["reserved", "stranger"])
def test_the_history_of_a_device_names_people_only_to_those_who_may_know(kind: str) -> None:
    event = DeviceEvent("GPU-0", utc_now(), kind, "carol", "for alice")
    assert device_event_json(event, OTHER)["message"] == "for alice"
    assert device_event_json(event, replace(OTHER, sees_names=False))["message"] == ""


GROUP = grp.getgrall()[1]
SITE = AccessPolicy(True, Access(admin_group=GROUP.gr_name, hide_names=True))


@pytest.mark.parametrize("groups", [{"gid": GROUP.gr_gid}, {"groups": (5000, GROUP.gr_gid)}])
def test_a_group_makes_an_admin_be_it_primary_or_not(groups: dict[str, Any]) -> None:
    admitted = SITE.admit(replace(OTHER, **groups))
    assert (admitted.is_admin, admitted.reads_shared, admitted.sees_names) == (True, False, True)


def test_a_group_to_share_with_reads_and_is_what_files_are_given_to() -> None:
    site = AccessPolicy(True, Access(share_group=GROUP.gr_name))
    member, other = site.admit(replace(OTHER, groups=(GROUP.gr_gid,))), site.admit(OTHER)
    assert [(one.is_admin, one.reads_shared, one.sees_names) for one in (member, other)] == [
        (False, True, True), (False, False, True),
    ]  # fmt: skip
    assert (site.share_gid, site.default_share, site.missing_groups()) == (GROUP.gr_gid, Share.PRIVATE, [])
    by_default = AccessPolicy(True, Access(share_group=GROUP.gr_name, share_by_default=True))
    assert by_default.default_share is Share.LAB


def test_everybody_else_is_let_in_without_rights() -> None:
    admitted = SITE.admit(replace(OTHER, groups=(5000,)))
    assert (admitted.is_admin, admitted.reads_shared, admitted.sees_names) == (False, False, False)
    assert SITE.admit(ROOT).is_admin


def test_a_group_that_does_not_exist_makes_nobody_anything() -> None:
    site = AccessPolicy(
        True, Access(admin_group="no-such-group", share_group="nor-this", share_by_default=True)
    )
    assert not site.admit(OTHER).is_admin
    assert site.missing_groups() == ["no-such-group", "nor-this"]
    assert (site.share_gid, site.default_share) == (None, Share.PRIVATE)


def test_users_of_another_namespace_are_not_told_apart_and_refused() -> None:
    nobody = int(Path("/proc/sys/kernel/overflowuid").read_text())
    for groups in ((), (nobody,), (GROUP.gr_gid,)):
        with pytest.raises(NotPermittedError, match="cannot tell apart"):
            SITE.admit(replace(OTHER, uid=nobody, groups=groups))


def test_a_personal_daemon_serves_its_own_user_and_shares_nothing() -> None:
    personal = AccessPolicy(False, Access(share_group=GROUP.gr_name, share_by_default=True, hide_names=True))
    assert personal.admit(replace(OTHER, uid=os.geteuid())).is_admin
    with pytest.raises(NotPermittedError, match="personal daemon of"):
        personal.admit(replace(OTHER, uid=os.geteuid() + 1))
    assert (personal.share_gid, personal.default_share) == (None, Share.PRIVATE)
    assert "refuses everybody else" in personal.describe()


def test_the_mode_is_said_with_who_may_do_what() -> None:
    access = Access(admin_group="a", share_group="b", share_by_default=True, hide_names=True)
    said = AccessPolicy(True, access).describe()
    for words in ("site daemon", "root and group a", "group b (the default)", "names are hidden"):
        assert words in said
