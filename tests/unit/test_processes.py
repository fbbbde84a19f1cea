"""What is found of processes, and how they are ended: held against the kernel, with real ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gpujobs.linux import process

ROOT = Path(__file__).parents[2]
HEAD = """
import ctypes, json, os, signal, time
from gpujobs.linux import process

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.restype = ctypes.c_long
PR_SET_PTRACER, PTRACE_SEIZE = 0x59616D61, 0x4206

def pausing(*before):
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writer)
        os.read(reader, 1)
        return pid
    for step in before:
        step()
    os.write(writer, b".")
    signal.pause()

def is_there(pid):
    try:
        return process.stat_fields(pid)[0] not in "ZX"
    except OSError:
        return False
"""
HELD = """
libc.prctl(PR_SET_PTRACER, ctypes.c_ulong(-1), 0, 0, 0)
child = pausing()
reader, writer = os.pipe()
if os.fork() == 0:
    if os.fork() == 0:  # belongs to init, and never waits for what it traces
        failed = libc.ptrace(PTRACE_SEIZE, child, None, None)
        os.write(writer, json.dumps([os.getpid(), failed]).encode())
        signal.pause()
    os._exit(0)
os.wait()
holder, failed = json.loads(os.read(reader, 100))
begun = time.monotonic()
in_time = [process.kill_children(0.2), time.monotonic() - begun]
os.kill(holder, signal.SIGKILL)
print(json.dumps({"skip": bool(failed), "in_time": in_time, "later": process.kill_children(20)}))
"""
GROUPS = """
reader, writer = os.pipe()
def leader():
    os.setsid()
    os.write(writer, b"%d" % pausing())
beside = pausing()
child = pausing(leader)
grandchild = int(os.read(reader, 20))
found = sorted(process.children(os.getpid())) == sorted(process.own_children(os.getpid())) == sorted([beside, child])
ended = process.kill_children(20)
deadline = time.monotonic() + 20
while is_there(grandchild) and time.monotonic() < deadline:  # it is init's to reap
    time.sleep(0.01)
print(json.dumps({"found": found, "ended": ended, "left": [is_there(one) for one in (beside, child, grandchild)]}))
"""


def said_by(program: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", HEAD + program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return json.loads(done.stdout)


def test_who_cannot_be_ended_is_not_waited_for_without_end() -> None:
    """A child that another process traces can be reaped only when that has gone."""
    said = said_by(HELD)
    if said["skip"]:
        pytest.skip("this container lets nobody trace")
    is_done, seconds = said["in_time"]
    assert not is_done and 0.2 <= seconds < 10
    assert said["later"]


def test_children_end_with_their_groups_and_who_ends_them_does_not() -> None:
    assert said_by(GROUPS) == {"found": True, "ended": True, "left": [False] * 3}


def test_kills_for_memory_are_those_that_the_kernel_has_counted() -> None:
    files = [Path("/proc/vmstat")]
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        number, controllers, group = line.split(":", 2)
        if (number, controllers) == ("0", ""):
            files.append(Path("/sys/fs/cgroup", group.lstrip("/"), "memory.events"))
    lines = [line.split() for file in files if file.exists() for line in file.read_text().splitlines()]
    assert process.oom_kills() == sum(int(value) for name, value in lines if name == "oom_kill")


def test_all_descriptors_but_those_are_closed() -> None:
    program = """
pipes = [*os.pipe(), *os.pipe()]
process.close_all_except(pipes[1])
def is_open(descriptor):
    try:
        return bool(os.fstat(descriptor))
    except OSError:
        return False
print(json.dumps([is_open(one) for one in (0, 1, 2, *pipes)]))
"""
    assert said_by(program) == [True, True, True, False, True, False, False]


def test_a_process_is_named_by_what_the_kernel_says_of_its_start() -> None:
    said = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    assert process.identify(os.getpid()) == {"pid": os.getpid(), "start_ticks": int(said[22 - 3])}
