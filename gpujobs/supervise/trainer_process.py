"""The process that trains, as its supervisor holds it: for one job, or for several of one kind, one after the other."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from gpujobs.failpoints import reach
from gpujobs.linux import cgroup, process
from gpujobs.protocol import training
from gpujobs.protocol.records import HostUse
from gpujobs.protocol.spec import AttemptSpec

RunTrainer = Callable[[AttemptSpec, int, int], NoReturn]

LEFTOVER_SECONDS = 10.0
TELL_SECONDS = 1.0
RESET_PEAK = "5"
"""proc_pid_clear_refs(5)"""

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class TrainerProcess:
    """`output` and `messages` are not blocking; `ended` is a pidfd."""

    def __init__(self, pid: int, output: int, messages: int, group: cgroup.Cgroup | None) -> None:
        self.pid, self.output, self.messages, self.cgroup = pid, output, messages, group
        self.ended = os.pidfd_open(pid)
        self.earlier: AttemptSpec | None = None
        """What it has trained just before."""
        self._cpu_before = 0.0
        for descriptor in (output, messages):
            os.set_blocking(descriptor, False)

    @property
    def is_alive(self) -> bool:
        return not select.select([self.ended], [], [], 0)[0]

    @property
    def is_talking(self) -> bool:
        return bool(select.select([self.output, self.messages], [], [], 0)[0])

    @property
    def is_alone(self) -> bool:
        """Whether it has left no process behind, however that has hidden."""
        known = process.own_children(self.pid) + process.own_children(os.getpid())
        others = [one for one in known if one != self.pid]
        grouped = [] if self.cgroup is None else self.cgroup.members()
        return not others and all(one == self.pid for one in grouped)

    def tell_next(self, path: Path, earlier: AttemptSpec) -> None:
        """Gives it the next job: it reads its spec from a descriptor, as the file is not its user's. What it uses
        counts from here on. Raises OSError where it has ended."""
        self.earlier = earlier
        self._cpu_before = self._cpu_seconds()
        with contextlib.suppress(OSError):  # not everywhere; then the peak is that of all its jobs
            Path(f"/proc/{self.pid}/clear_refs").write_text(RESET_PEAK)
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            with socket.socket(fileno=os.dup(self.messages)) as end:
                end.settimeout(TELL_SECONDS)
                socket.send_fds(end, [training.written(training.Next())], [descriptor])
        finally:
            os.set_blocking(self.messages, False)
            os.close(descriptor)

    def used(self, threads: int) -> HostUse | None:
        """By the job that it has just done, while it lives."""
        try:
            peak = _peak_bytes(self.pid)
            return HostUse(peak, max(0.0, self._cpu_seconds() - self._cpu_before), threads)
        except (OSError, ValueError, IndexError):
            return None

    def reap(self, threads: int) -> tuple[int, HostUse]:
        """Its wait status, and what its last job has used."""
        _, status, used = os.wait4(self.pid, 0)
        seconds = max(0.0, used.ru_utime + used.ru_stime - self._cpu_before)
        return status, HostUse(used.ru_maxrss * 1024, seconds, threads)

    def kill(self) -> bool:
        """With all that it has started. False where something could not be ended."""
        return kill_all(self.cgroup)

    def close(self) -> None:
        for descriptor in (self.output, self.messages, self.ended):
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def _cpu_seconds(self) -> float:
        """Of itself and of the processes that it has waited for: utime, stime, cutime and cstime."""
        return sum(map(int, process.stat_fields(self.pid)[11:15])) / TICKS_PER_SECOND


def _peak_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise ValueError("it has no memory any more")


def kill_all(group: cgroup.Cgroup | None) -> bool:
    """Ends what a trainer has left behind, whatever its parent, session or process group."""
    if group is not None:
        group.kill()
    has_ended = process.kill_children(LEFTOVER_SECONDS)
    if group is not None:
        group.remove()
    return has_ended


def fork(spec: AttemptSpec, run_trainer: RunTrainer) -> TrainerProcess:
    """A new one."""
    output, output_in = os.pipe()
    messages, messages_in = (end.detach() for end in socket.socketpair())
    group = cgroup.make("gpujobs-{pid}-{start_ticks}".format(**process.identify(os.getpid())))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    reach("spawn.trainer")
    own = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            reach("trainer.forked")
            process.prctl(process.PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() == own:  # else whoever would follow it died before it could be told
                signal.set_wakeup_fd(-1)  # ours, where we follow another attempt already
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                run_trainer(spec, output_in, messages_in)
        finally:
            os._exit(1)  # what fails here must not go on as a second supervisor of the attempt
    if group is not None:
        group.add(pid)
    os.close(output_in)
    os.close(messages_in)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return TrainerProcess(pid, output, messages, group)
