"""Three boxes of one queue: network namespaces with an address, a host name, a state directory and a Ray each.

Their trainers are small ones (standin/) where `is_small`; Ray is the real one always.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.acceptance.boxes import PORT, Node, boxes, ip, why_not
from tests.acceptance.boxes import Box as Space

from .box import ROOT, STANDIN, Box, Failure, kill, processes_of, until

LEASE_SECONDS = 30
"""The shortest that a site may have."""

SHOWN = (".json", ".txt")
"""How the names of files end that are shown where a job was lost."""

NOWHERE = "02:00:00:00:00:fe"
"""A link address that no box has: what is sent to it is lost without a word."""

ROLES = {
    "daemon": "gpujobs serve",
    "head": "cluster.head",
    "raylet": "raylet/raylet",
    "GCS": "gcs_server",
    "agent": "ray::AgentActor",
    "launcher": ".launcher --socket",
    "supervisor": "supervisor: job",
    "node join": "gpujobs node join",
}


@dataclass(frozen=True)
class Left:
    """What the directory of an attempt has. `exit` and `record` are None where there is none; `home` is where it has
    run, of a directory that holds what came home from there."""

    box: str
    job: int
    number: int
    nonce: str
    claim: str
    exit: Mapping[str, Any] | None
    record: Mapping[str, Any] | None
    home: str | None = None

    @property
    def is_alive(self) -> bool:
        """Whether its supervisor is: the pid that it has noted, begun when it says."""
        if self.record is None:
            return False
        noted = self.record["supervisor"]
        with contextlib.suppress(OSError, IndexError):
            fields = Path(f"/proc/{noted['pid']}/stat").read_text().rpartition(")")[2].split()
            return int(fields[19]) == noted["start_ticks"] and fields[0] not in "ZX"
        return False


class Site(Box):
    """As a `Box`, the head's, with two nodes that a service manager keeps up, as it does the daemon."""

    def __init__(self, spaces: list[Space], *, is_small: bool, slots: int = 2) -> None:
        super().__init__(ROOT, is_small=is_small, slots=1, root=spaces[0].root)
        self.spaces = spaces
        self.all = spaces[0].root.parent
        self._node_slots = slots
        self._small = self.all / "standin"
        self._small.mkdir()
        for path in STANDIN.glob("*.py"):  # without its `ray`: the real one is wanted here
            (self._small / path.name).symlink_to(path)
        head = spaces[0].address
        (self.root / "gpujobs.toml").write_text(
            f'[cluster]\nlisten = "{head}:{PORT}"\nlease = "{LEASE_SECONDS}s"\n'
        )
        for space in spaces[1:]:  # a job is locked for all boxes
            (space.root / "evidence").symlink_to(self.evidence)
        self.nodes: list[Node] = []
        self.is_off: set[str] = set()
        """The boxes that nobody keeps up at present: they have lost their power."""

        self.is_cut: set[str] = set()
        """The nodes whose link something is done to at present."""

    @property
    def environment(self) -> dict[str, str]:
        path = [str(self._small)] * self.is_small + [str(self.tree)]
        return {
            **super().environment,
            "PYTHONPATH": os.pathsep.join(path),
            "GPUJOBS_FAILPOINTS": f"@{self.points}",
            "GPUJOBS_FAILPOINTS_DIR": str(self.counts),
        }

    # Its life

    def start(self, wait: bool = True) -> None:
        self.is_to_run = True
        with self.log.open("ab") as output:
            self.daemon = subprocess.Popen(
                [
                    *self.spaces[0].within, sys.executable, "-P", "-m", "gpujobs", "serve", "--personal",
                    "--cpu-slots", str(self.slots),
                ],
                env=self.environment, cwd=self.root, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True,
            )  # fmt: skip
        if wait:
            self.ready()

    def join(self) -> None:
        """The first time: all boxes are there when this returns."""
        self.ready()
        token = self.root / "token.json"
        done = self.cli("node", "token", token)
        assert done.returncode == 0, done.stderr
        for space in self.spaces[1:]:
            node = Node(space, self.spaces[0], token, slots=self._node_slots)
            node.environment = {
                **self.environment,
                "HOME": str(space.root),
                "GPUJOBS_STATE_DIR": str(node.state),
            }
            self.nodes.append(node)
            node.start()
        until(lambda: not self.away(), 120, f"all boxes are there: {self.story()}")

    def keep_up(self) -> None:
        if "box1" not in self.is_off:
            super().keep_up()
        for node in self.nodes:
            has_ended = node.process is not None and node.process.poll() is not None
            if has_ended and node.name not in self.is_off:
                node.start()

    def close(self) -> None:
        self.is_to_run = False
        self.is_off = {space.name for space in self.spaces}
        for space in self.spaces:
            kill(self.pids_in(space))
        ours = [self.daemon, *(node.process for node in self.nodes)]
        for process in filter(None, ours):  # which are in no space of their own, but wait for one that is
            process.kill()
            process.wait()

    def story(self) -> str:
        return "\n".join([self.tail(), *(node.story() for node in self.nodes)])

    def story_of(self, job: int) -> str:
        """Its events, and what all boxes have of it."""
        lines = [json.dumps(event) for event in (self.get(f"/v1/jobs/{job}") or {"events": []})["events"]]
        for space in self.spaces:
            for path in sorted((space.root / f"s/spool/jobs/{job}").rglob("*")):
                if path.is_file():
                    text = path.read_text(errors="replace")[-2000:] if path.suffix in SHOWN else ""
                    lines.append(f"{space.name}: {path} {path.stat().st_mtime:.3f} {text}")
        return "\n".join(lines)

    def cut_power_of(self, space: Space) -> None:
        """First nothing of the box is heard any more, then all in it is gone."""
        self.is_off.add(space.name)
        space.cut()
        while pids := self.pids_in(space):
            kill(pids)
            time.sleep(0.05)

    def power_back(self, space: Space) -> None:
        space.heal()
        self.is_off.discard(space.name)
        self.keep_up()

    def write_job(self, name: str, epochs: int, seed: int) -> Path:
        """One whose name begins with `far` runs on box2."""
        path = super().write_job(name, epochs, seed)
        if name.startswith("far"):
            path.write_text(path.read_text() + "resources: {node: box2}\n")
        return path

    # Its processes

    def processes(self) -> dict[int, str]:
        return processes_of(self.all)

    def pids_in(self, space: Space) -> list[int]:
        found = subprocess.run(
            ["ip", "netns", "pids", space.space], capture_output=True, text=True, check=False
        )
        return [int(pid) for pid in found.stdout.split()]

    def role(self, space: Space, name: str) -> list[int]:
        """The processes of that role in one box."""
        if name == "trainer":
            return [
                int(left.record["trainer"]["pid"])
                for left in self.left(space.name)
                if left.record is not None and left.exit is None and left.is_alive
            ]
        trainers = set(self.role(space, "trainer")) if name == "supervisor" else set()
        return [pid for pid in self.pids_in(space) if ROLES[name] in command_of(pid) and pid not in trainers]

    # What is known, and what is so

    def away(self) -> list[str]:
        """The boxes that the daemon does not count as there, or on which no agent is; all where it does not answer."""
        nodes = {node["name"]: node for node in (self.get("/v1/nodes") or {"nodes": []})["nodes"]}
        return [
            space.name
            for space in self.spaces
            if nodes.get(space.name, {"status": "?"})["status"] != "ok" or not self.role(space, "agent")
        ]

    def left(self, box: str | None = None) -> list[Left]:
        """What is in the directories of the attempts of a box, or of all: where they have run."""
        return [one for one in self.directories(box) if one.home is None]

    def directories(self, box: str | None = None) -> list[Left]:
        """Of all attempts, also of those that are on the head's box since what they have left came home."""
        found = []
        for space in self.spaces:
            if box is None or space.name == box:
                for path in _attempts_in(space.root / "s/spool/jobs"):
                    with contextlib.suppress(FileNotFoundError):  # it is forgotten, or not whole yet
                        found.append(_left(space.name, path))
        return found

    # Links

    def one_way(self, sender: Space, receiver: Space) -> None:
        """What `sender` says to `receiver` is lost; the other way it goes on."""
        ip(
            "-n", sender.space, "neigh", "replace", receiver.address, "lladdr", NOWHERE, "dev", "eth0",
            "nud", "permanent",
        )  # fmt: skip

    def both_ways(self, sender: Space, receiver: Space) -> None:
        ip("-n", sender.space, "neigh", "del", receiver.address, "dev", "eth0")

    def shape(self, space: Space, *words: str) -> None:
        """How the box's link sends: `tc qdisc`. Without words as at first."""
        if not words:
            _tc(space, "del", "eth0")
        elif (done := _tc(space, "add", "eth0", *words)).returncode:
            raise Failure("wrong", f"the case itself: {done.stderr}")

    @functools.cached_property
    def has_netem(self) -> bool:
        """Whether this kernel can lose single packets, and delay them."""
        can = _tc(self.spaces[0], "add", "lo", "netem", "loss", "1%").returncode == 0
        _tc(self.spaces[0], "del", "lo")
        return can


@contextlib.contextmanager
def site(*, is_small: bool, count: int = 3) -> Iterator[Site]:
    """Boxes that have joined; they are gone after it, whatever happens."""
    if why := why_not():
        raise SystemExit(f"no boxes can be made: {why}")
    with boxes(count) as spaces:
        made = Site(spaces, is_small=is_small)
        try:
            made.start()
            made.join()
            yield made
        finally:
            made.close()


def _tc(space: Space, what: str, device: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["tc", "-n", space.space, "qdisc", what, "dev", device, "root", *words],
        capture_output=True,
        text=True,
        check=False,
    )


def _attempts_in(jobs: Path) -> Iterator[Path]:
    """Their directories, also where one is forgotten meanwhile: `glob` fails then."""
    for job in sorted(jobs.iterdir() if jobs.exists() else ()):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            yield from sorted(path for path in job.iterdir() if path.name.startswith("attempt-"))


def _left(box: str, path: Path) -> Left:
    spec = json.loads((path / "spec.json").read_text())
    claim = path / "claim"
    return Left(
        box,
        int(path.parent.name),
        int(path.name.removeprefix("attempt-")),
        spec["nonce"],
        claim.read_text() if claim.exists() else "",
        _json(path / "exit.json"),
        _json(path / "record.json"),
        (_json(path / "home.json") or {}).get("node"),
    )


def _json(path: Path) -> Mapping[str, Any] | None:
    try:
        found: Mapping[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    return found


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
