"""What a trainer is once it has taken its user's identity."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gpujobs.protocol.spec import Identity
from gpujobs.supervise import rights

from .with_keras import python_with_keras

PR_SET_DUMPABLE = 4
"""linux/prctl.h"""

PROGRAM = """
import ctypes, json, os, sys
from pathlib import Path
from gpujobs.linux import process
from gpujobs.supervise import child
from gpujobs.protocol.spec import Identity

libc = ctypes.CDLL(None, use_errno=True)
ADD_KEY, KEYCTL = {"x86_64": (248, 250), "aarch64": (217, 219)}[os.uname().machine]
SESSION, SEARCH = -3, 10

def finds_key():
    return libc.syscall(KEYCTL, SEARCH, SESSION, b"user", b"gpujobs-test", 0) > 0

def noting(call, noted=[]):
    def prctl(*arguments):
        noted.append(arguments)
        return call(*arguments)
    return prctl, noted

process.prctl, asked = noting(process.prctl)

def in_child(*steps):
    reader, writer = os.pipe()
    if os.fork() == 0:
        for step in steps:
            step()
        status = dict(line.split(":\\t", 1) for line in Path("/proc/self/status").read_text().splitlines())
        try:
            score = int(Path("/proc/self/oom_score_adj").read_text())
            owner = Path("/proc/self/mem").stat().st_uid
            answer = {"finds_key": finds_key(), "oom_score_adj": score, "owner": owner}
            answer |= {"status": status, "asked": asked}
        except OSError as error:
            answer = {"error": str(error)}
        os.write(writer, json.dumps(answer).encode())
        os._exit(0)
    os.close(writer)
    return json.loads(os.fdopen(reader).read())

process.new_session_keyring()
libc.syscall(ADD_KEY, b"user", b"gpujobs-test", b"secret", 6, SESSION)
identity = Identity(12345, 12346, (12346, 12347), "/")
only_uid = in_child(lambda: os.setgroups([]), lambda: os.setresuid(12345, 12345, 12345))
trainer = in_child(child.offer_to_oom_killer, lambda: child.become(identity))
print(json.dumps([only_uid, trainer]))
"""


@pytest.fixture(scope="module")
def children() -> list[dict[str, Any]]:
    """One that has only changed its uid, and a trainer."""
    if os.geteuid() != 0 or platform.machine() not in ("x86_64", "aarch64"):
        pytest.skip("taking another identity needs root")
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_it_has_lost_the_keys_of_who_has_started_the_daemon(children: list[dict[str, Any]]) -> None:
    only_uid, trainer = children
    if not only_uid["finds_key"]:
        pytest.skip("this kernel, or its container, has no keyrings")
    assert trainer["finds_key"] is False


def test_nobody_traces_it_not_even_its_user(children: list[dict[str, Any]]) -> None:
    """What cannot be traced belongs to root in /proc."""
    assert children[1]["owner"] == 0
    assert [PR_SET_DUMPABLE, 0] in children[1]["asked"], "fs.suid_dumpable of this machine alone did it"
    status = children[1]["status"]
    assert status["Uid"].split() == ["12345"] * 4 and status["NoNewPrivs"] == "1"


def test_it_has_its_users_groups_and_no_others(children: list[dict[str, Any]]) -> None:
    status = children[1]["status"]
    assert status["Gid"].split() == ["12346"] * 4 and status["Groups"].split() == ["12346", "12347"]


def test_it_is_what_the_kernel_ends_first(children: list[dict[str, Any]]) -> None:
    assert children[1]["oom_score_adj"] >= 300


def test_an_identity_with_other_groups_is_anothers() -> None:
    """Or a daemon of root's would lend root's job the groups that it was started with."""
    ours = Identity(os.geteuid(), os.getegid(), tuple(os.getgroups()), "/")
    assert rights.is_own(ours)
    others: list[dict[str, Any]] = [
        {"uid": ours.uid + 1},
        {"gid": ours.gid + 1},
        {"groups": (*ours.groups, 54321)},
        {"groups": (54321,)},
    ]
    assert not [other for other in others if rights.is_own(replace(ours, **other))]


WAY_BACK = """
import ctypes, os
from gpujobs.supervise import child
from gpujobs.protocol.spec import Identity

SECUREBITS, NO_SETUID_FIXUP = 28, 4
if os.fork():  # all that follows is of one thread, as in a trainer
    os._exit(os.waitstatus_to_exitcode(os.wait()[1]))
if ctypes.CDLL(None, use_errno=True).prctl(SECUREBITS, NO_SETUID_FIXUP, 0, 0, 0):
    print("skip", flush=True)
else:
    try:
        child.become(Identity(12345, 12345, (12345,), "/"))
    except PermissionError as error:
        print(error, flush=True)
"""


def test_one_that_could_become_root_again_does_not_begin() -> None:
    """The kernel leaves a process its capabilities where it was told not to look at its uid."""
    if os.geteuid() != 0:
        pytest.skip("taking another identity needs root")
    done = subprocess.run([sys.executable, "-c", WAY_BACK], capture_output=True, text=True, check=True)
    if done.stdout == "skip\n":
        pytest.skip("this container may not change what the kernel does with capabilities")
    assert done.stdout == "it could become root again\n"


COMPARING = """
import hashlib, json, os, socket, sys
from pathlib import Path
from gpujobs.protocol.launcher import CompareFiles
from gpujobs.protocol.spec import DataFile, Identity
from gpujobs.supervise import comparing

files = [
    DataFile(hashlib.sha256(Path(path).read_bytes()).hexdigest(), os.path.getsize(path), path, in_place=True)
    for path in sys.argv[1:]
]
ours, theirs = socket.socketpair()
if os.fork() == 0:
    ours.close()
    comparing.answer(CompareFiles(Identity(12345, 12345, (), "/"), tuple(files), ()), theirs.detach())
    os._exit(0)
theirs.close()
print(ours.makefile().readline(), end="", flush=True)
"""


def test_whoever_looks_at_data_in_place_sees_what_its_user_may_see() -> None:
    """Or a job could be told whether a file that is not its user's has this hash."""
    if os.geteuid() != 0:
        pytest.skip("taking another identity needs root")
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        readable, closed = (Path(directory, name) for name in ("readable", "closed"))
        for path, mode in ((readable, 0o644), (closed, 0o600)):
            path.write_text("0,1\n")
            path.chmod(mode)
        done = python_with_keras(COMPARING, readable, closed)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["problems"] == [f"{closed}: Permission denied"] and len(found["marks"]) == 1
