"""Nothing running, nothing waiting: nothing is used."""

from __future__ import annotations

import os
import time

import pytest

from .harness import RunningDaemon, cpu_ticks, eventually, processes_of, ray_program

SECONDS = 5.0


@pytest.fixture(scope="module")
def daemon(shared_daemon: RunningDaemon) -> RunningDaemon:
    return shared_daemon


def ours(daemon: RunningDaemon) -> dict[int, str]:
    """The daemon and the launcher; Ray's processes are its own."""
    found = {daemon.pid: "daemon"}
    for pid, command in processes_of(daemon.state).items():
        if "gpujobs.supervise.launcher" in command:
            found[pid] = "launcher"
    return found


def ticks(daemon: RunningDaemon) -> dict[str, int]:
    return {name: cpu_ticks(pid) for pid, name in ours(daemon).items()}


def test_an_idle_daemon_and_its_launcher_use_no_cpu(daemon: RunningDaemon) -> None:
    daemon.until(daemon.submit_quick(), "COMPLETED")
    before = eventually(lambda: settled(daemon), 20)
    assert set(before) == {"daemon", "launcher"}
    time.sleep(SECONDS)  # the span that is measured
    used = {name: count - before[name] for name, count in ticks(daemon).items()}
    assert all(count <= 1 for count in used.values()), f"ticks of 10 ms in {SECONDS} s: {used}"


def settled(daemon: RunningDaemon) -> dict[str, int] | None:
    """What the last job has left to do is done when half a second brings no tick."""
    before = ticks(daemon)
    time.sleep(0.5)
    return before if ticks(daemon) == before else None


def test_ray_has_nothing_but_what_is_needed(daemon: RunningDaemon) -> None:
    """Neither agents nor servers of its own, which cost more than the rest of its start."""
    programs = sorted(filter(None, map(ray_program, processes_of(daemon.state).values())))
    assert programs == ["gcs_server", "ray::AgentActor", "raylet"]


def test_the_agent_does_not_give_way_to_what_trains(daemon: RunningDaemon) -> None:
    """As Ray's workers do unless it is told otherwise."""
    (agent,) = [pid for pid, command in processes_of(daemon.state).items() if command.startswith("ray::")]
    assert os.getpriority(os.PRIO_PROCESS, agent) == os.getpriority(os.PRIO_PROCESS, daemon.pid)
