"""Who asks is what the kernel says of the connection's maker, groups too."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from gpujobs.daemon.access.identity import peer_of

NOBODY = 65534


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: to make a process with groups that no list has")
def test_groups_are_those_of_the_process_and_not_those_of_its_name(tmp_path: Path) -> None:
    """As of somebody who was taken out of a group, or has started with `newgrp`: the kernel knows what they may."""
    groups = [4242, 77]
    tmp_path.chmod(0o755)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        (tmp_path / "s").chmod(0o666)
        listener.listen()
        child = os.fork()
        if child == 0:
            try:
                os.chdir(tmp_path)
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
    assert (caller.uid, caller.gid, sorted(caller.groups)) == (NOBODY, 55, sorted(groups))
    assert set(caller.groups).isdisjoint(os.getgrouplist("nobody", 65534))
