"""Every file that gpujobs writes, named in one place. Nothing here touches the disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

RESULT_MARK = ".attempt"
"""Is shown to nobody."""


@dataclass(frozen=True, slots=True)
class AttemptPaths:
    """The files of one attempt: `spool/jobs/<job>/attempt-<number>/`, the daemon's own, mode 0700."""

    root: Path

    @property
    def key(self) -> tuple[int, int]:
        """The numbers of the job and of the attempt."""
        return int(self.root.parent.name), int(self.root.name.removeprefix("attempt-"))

    @property
    def spec(self) -> Path:
        """What to run, written by the agent before it asks the launcher."""
        return self.root / "spec.json"

    @property
    def asked(self) -> Path:
        """On a box that has joined: when it was asked for."""
        return self.root / "asked.json"

    @property
    def claim(self) -> Path:
        """Created once, exclusively: by the supervisor ("supervisor") or by recovery ("revoked")."""
        return self.root / "claim"

    @property
    def lock(self) -> Path:
        """Held with flock by the supervisor for as long as it lives."""
        return self.root / "supervisor.lock"

    @property
    def record(self) -> Path:
        """Pids, their start times and the boot id."""
        return self.root / "record.json"

    @property
    def stop(self) -> Path:
        """A request to stop, with its reason; SIGTERM tells the supervisor to read it."""
        return self.root / "stop.json"

    @property
    def wishes(self) -> Path:
        """What else is asked of a running attempt: to finish, and its time limit. Told as a stop is."""
        return self.root / "wishes.json"

    @property
    def progress(self) -> Path:
        return self.root / "progress.json"

    @property
    def log(self) -> Path:
        return self.root / "log.txt"

    @property
    def exit(self) -> Path:
        """How the attempt ended; fsynced before anyone is told."""
        return self.root / "exit.json"

    @property
    def home(self) -> Path:
        """On the daemon's box: says that what the attempt has left on another box is here, and whether all of it
        could be taken."""
        return self.root / "home.json"

    @property
    def checkpoint_home(self) -> Path:
        """On the daemon's box: says that the checkpoint that is here is of this attempt, which ran on another."""
        return self.root / "checkpoint-home.json"

    @property
    def coming(self) -> Path:
        """What is on its way home, by its hash."""
        return self.root / "coming"


@dataclass(frozen=True, slots=True)
class JobPaths:
    """What a node keeps of one job: `spool/jobs/<job>/`."""

    root: Path

    @property
    def work(self) -> Path:
        """The trainer's own directory, owned by the job's user, mode 0700."""
        return self.root / "work"

    @property
    def checkpoint(self) -> Path:
        """Kept from attempt to attempt."""
        return self.work / "checkpoint"

    @property
    def results(self) -> Path:
        """Where the trainer writes the files of a finished job; emptied when an attempt starts."""
        return self.work / "results"

    @property
    def model(self) -> Path:
        """On a box that has joined: the model that the job applies."""
        return self.root / "model"

    @property
    def fresh(self) -> Path:
        """What is put together here before it gets its place."""
        return self.root / "fresh"

    def steps(self, uid: int) -> Path:
        """`spool/steps/<uid>/`: what trainers of that user have traced, for those that come after; the user's own."""
        return self.root.parents[1] / "steps" / str(uid)

    def attempt(self, number: int) -> AttemptPaths:
        return AttemptPaths(self.root / f"attempt-{number}")


@dataclass(frozen=True, slots=True)
class StatePaths:
    """The daemon's state directory."""

    root: Path

    @property
    def database(self) -> Path:
        return self.root / "gpujobs.db"

    @property
    def numbers(self) -> Path:
        """Which numbers of jobs were given: a mark beside the store, which is no part of its copies."""
        return self.root / "numbers.json"

    @property
    def numbers_copy(self) -> Path:
        return self.results / ".numbers.json"

    @property
    def lock(self) -> Path:
        """Held with flock by the one daemon of this state directory."""
        return self.root / "daemon.lock"

    @property
    def identity(self) -> Path:
        """The id of this state directory, and the place of the file itself (`gpujobs/linux/stateid.py`)."""
        return self.root / "identity.json"

    @property
    def log(self) -> Path:
        return self.root / "daemon.log"

    @property
    def run(self) -> Path:
        """Mode 0700: sockets between the daemon's own processes, Ray's token."""
        return self.root / "run"

    def launcher_socket(self, backend: str) -> Path:
        """Of the launcher that has imported this backend of Keras; its log is beside it."""
        return self.run / f"launcher-{backend}.sock"

    def launcher_log(self, backend: str) -> Path:
        return self.launcher_socket(backend).with_suffix(".log")

    @property
    def agent_socket(self) -> Path:
        """Datagrams from supervisors to the node agent."""
        return self.run / "agent.sock"

    @property
    def residents(self) -> Path:
        """For each trainer that waits for another job, a file that its supervisor holds with flock, and its socket."""
        return self.run / "residents"

    @property
    def head_lock(self) -> Path:
        """Held with flock by the one cluster head of this state directory."""
        return self.run / "head.lock"

    @property
    def ray_token(self) -> Path:
        return self.run / "ray-token"

    @property
    def tls(self) -> Path:
        """The certificates of a cluster that can be joined, and their keys; 0700."""
        return self.root / "tls"

    @property
    def cluster_token(self) -> Path:
        """The secret of a cluster that can be joined; it stays until somebody removes it."""
        return self.root / "cluster-token"

    @property
    def nodes(self) -> Path:
        """The boxes that have joined this daemon's cluster, and were not removed."""
        return self.root / "nodes.json"

    @property
    def membership(self) -> Path:
        """On a box that has joined: whose cluster it belongs to."""
        return self.root / "cluster.json"

    @property
    def lease(self) -> Path:
        """On a box that has joined: until when its trainers may go on without a word of the daemon."""
        return self.run / "lease.json"

    @property
    def keeper_socket(self) -> Path:
        """On a box that has joined: where its agent asks for launchers."""
        return self.run / "keeper.sock"

    @property
    def ray(self) -> Path:
        """Mode 0700, because Ray makes its session directories inside it 0777."""
        return self.root / "ray"

    @property
    def ray_temp(self) -> Path:
        """Names the directory that the head has made for Ray elsewhere, where this one does not suit it."""
        return self.run / "ray-temp"

    @property
    def spool(self) -> Path:
        return self.root / "spool"

    @property
    def results(self) -> Path:
        return self.root / "results"

    def data(self, uid: int, sha256: str) -> Path:
        """A data file that a user has uploaded: owned by that user, mode 0400."""
        return self.spool / "data" / str(uid) / sha256

    def job(self, job: int) -> JobPaths:
        return JobPaths(self.spool / "jobs" / str(job))

    def result(self, job: int) -> Path:
        return self.results / str(job)

    def result_mark(self, directory: Path) -> Path:
        """In a directory of results: of which attempt they are; see `result_mark`."""
        return directory / RESULT_MARK
