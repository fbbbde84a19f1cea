"""Who asks is what the kernel says of the connection's maker, groups too."""

from __future__ import annotations

import os
import pwd
import socket
from pathlib import Path

import pytest

from gpujobs.daemon.access.identity import peer_of
from gpujobs.model import Caller

NOBODY = 65534


AS_ROOT = pytest.mark.skipif(
    os.geteuid() != 0, reason="needs root: to make a process with groups that no list has"
)


def caller_with(groups: list[int], directory: Path) -> Caller:
    """What is said of a connection by a process of nobody's with the group 55 and these."""
    directory.chmod(0o755)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(directory / "s"))
        (directory / "s").chmod(0o666)
        listener.listen()
        child = os.fork()
        if child == 0:
            try:
                os.chdir(directory)
                os.setgroups(groups)
                os.setresgid(55, 55, 55)
                os.setresuid(NOBODY, NOBODY, NOBODY)
                socket.socket(socket.AF_UNIX).connect("s")
            finally:
                os._exit(0)
        connection, _ = listener.accept()
        with connection:
            caller = peer_of(connection)
        os.waitpid(child, 0)
    return caller


@AS_ROOT
def test_groups_are_those_of_the_process_and_not_those_of_its_name(tmp_path: Path) -> None:
    """As of somebody who was taken out of a group, or has started with `newgrp`: the kernel knows what they may."""
    groups = [4242, 77]
    caller = caller_with(groups, tmp_path)
    assert (caller.uid, caller.gid, sorted(caller.groups)) == (NOBODY, 55, sorted(groups))
    assert set(caller.groups).isdisjoint(os.getgrouplist("nobody", 65534))


@AS_ROOT
def test_of_more_groups_than_can_be_asked_for_a_login_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = {(pwd.getpwuid(NOBODY).pw_name, 55): [55, 4711]}
    monkeypatch.setattr(os, "getgrouplist", lambda name, gid: listed[name, gid])
    assert caller_with([*range(5000, 5300)], tmp_path).groups == (55, 4711)
