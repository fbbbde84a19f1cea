"""Who a process belongs to and what it runs, for people's eyes. Linux's /proc, through psutil."""

from __future__ import annotations

from dataclasses import replace

import psutil

from gpujobs.model import Device, Process

MAX_COMMAND_LENGTH = 200


def describe(process: Process) -> Process:
    """With the owner, the command and its age. All stay None where the pid is gone, or not of this pid namespace."""
    try:
        running = psutil.Process(process.pid)
        with running.oneshot():
            command = " ".join(running.cmdline()) or running.name()
            return replace(
                process,
                user=running.username(),
                command=command[:MAX_COMMAND_LENGTH],
                since=running.create_time(),
            )
    except psutil.Error:
        return process


def describe_all(device: Device) -> Device:
    return replace(device, processes=tuple(describe(process) for process in device.processes))
