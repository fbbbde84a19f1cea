"""Nothing running, nothing waiting: the processor time of the daemon and the launcher."""

from __future__ import annotations

import time
from pathlib import Path

import psutil

from benchmarks.support.daemon import Daemon, running
from benchmarks.support.options import Options
from benchmarks.support.rows import Row

SETTLING_SECONDS = 3.0
TICK_MS = 10.0
"""The clock tick in which Linux counts processor time for `ps` and `top`."""


def measure(options: Options) -> list[Row]:
    used: dict[str, list[float]] = {"daemon": [], "launcher": []}
    with running(options.slots, options.daemon) as daemon:
        time.sleep(min(SETTLING_SECONDS, options.idle_seconds))
        for _ in range(options.repeat):
            before = {name: processor_ms(pid) for name, pid in ours(daemon).items()}
            time.sleep(options.idle_seconds)
            for name, pid in ours(daemon).items():
                used[name].append(processor_ms(pid) - before[name])
    what = f"processor time in {options.idle_seconds:g} s without a job"
    return [Row(f"{what}: {name}", "ms", tuple(values), TICK_MS) for name, values in used.items()]


def ours(daemon: Daemon) -> dict[str, int]:
    """Ray's processes are its own."""
    (launcher,) = (
        child.pid
        for child in psutil.Process(daemon.pid).children()
        if "gpujobs.supervise.launcher" in child.cmdline()
    )
    return {"daemon": daemon.pid, "launcher": launcher}


def processor_ms(pid: int) -> float:
    """Of all threads, as the scheduler counts it, in nanoseconds."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e6
