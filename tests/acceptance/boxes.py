"""Several boxes on one machine: network namespaces joined by a bridge, each box with an address, a host name and a
/dev/shm of its own. Whatever happens in a test, they are gone after it, with all that ran in them."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from .harness import (
    COMMAND,
    ENDLESS,
    FINAL,
    PACED,
    ROOT,
    RunningDaemon,
    eventually,
    kill_all,
    processes_of,
    short_directory,
)

PORT = 8480
NET = "10.213.7"


@cache
def why_not() -> str | None:
    """What this machine lacks for boxes, in words."""
    if os.geteuid() != 0:
        return "needs root: to make network namespaces"
    if shutil.which("ip") is None or shutil.which("unshare") is None:
        return "needs `ip` (iproute2) and `unshare` (util-linux)"
    name = f"gjtry{os.getpid()}"
    tried = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    return f"network namespaces cannot be made: {tried.stderr.strip()}" if tried.returncode else None


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


class Box:
    """`within` is what a program is started with to run in it. A file `passwd` in `root` has users of its own."""

    def __init__(self, net: str, number: int, root: Path) -> None:
        self.name = f"box{number}"
        self.space = f"{net}-{number}"
        self.link = f"gj{os.getpid() % 100000}v{number}"
        self.address = f"{NET}.{number}"
        self.root = root / self.name
        self.root.mkdir()

    @property
    def within(self) -> Sequence[str]:
        passwd = self.root / "passwd"
        begin = (
            f"hostname {self.name} && mount -t tmpfs -o size=512m tmpfs /dev/shm && "
            f"if [ -e {passwd} ]; then mount --bind {passwd} /etc/passwd; fi && "
            'exec "$@"'
        )
        return (
            "ip", "netns", "exec", self.space, "unshare", "--uts", "--mount", "--propagation", "private",
            "sh", "-c", begin, "sh",
        )  # fmt: skip

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["ip", "netns", "exec", self.space, *words], capture_output=True, text=True, check=True
        )

    def cut(self) -> None:
        """Nothing comes or goes any more: the cable is pulled."""
        ip("-n", f"{self.space.rpartition('-')[0]}-sw", "link", "set", self.link, "down")

    def heal(self) -> None:
        ip("-n", f"{self.space.rpartition('-')[0]}-sw", "link", "set", self.link, "up")


@contextmanager
def boxes(count: int) -> Iterator[list[Box]]:
    """Box 1 is the head's. Skips the test where none can be made."""
    if why := why_not():
        pytest.skip(why)
    _remove_left()
    net, root = f"gj{os.getpid()}", short_directory()
    made: list[Box] = []
    switch = f"{net}-sw"
    try:
        ip("netns", "add", switch)
        ip("-n", switch, "link", "add", "br0", "type", "bridge")
        ip("-n", switch, "link", "set", "br0", "up")
        for number in range(1, count + 1):
            box = Box(net, number, root)
            made.append(box)
            ip("netns", "add", box.space)
            ip("-n", box.space, "link", "set", "lo", "up")
            ip("link", "add", "eth0", "netns", box.space, "type", "veth", "peer", box.link, "netns", switch)
            ip("-n", switch, "link", "set", box.link, "master", "br0", "up")
            ip("-n", box.space, "address", "add", f"{box.address}/24", "dev", "eth0")
            ip("-n", box.space, "link", "set", "eth0", "up")
        yield made
    finally:
        for space in (*(box.space for box in made), switch):
            _remove(space)
        kill_all(processes_of(root))
        shutil.rmtree(root, ignore_errors=True)


def _remove(space: str) -> None:
    _kill_in(space)
    subprocess.run(["ip", "netns", "del", space], capture_output=True, check=False)


def _remove_left() -> None:
    """What a test that was killed has left: its boxes have its pid in their names."""
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=False).stdout
    for space in re.findall(r"^gj\d+-\w+", listed, re.MULTILINE):
        if not Path(f"/proc/{space.removeprefix('gj').partition('-')[0]}").exists():
            _remove(space)


def _kill_in(space: str) -> None:
    """As when a box loses its power: every process in it, at once."""
    found = subprocess.run(["ip", "netns", "pids", space], capture_output=True, text=True, check=False)
    kill_all(map(int, found.stdout.split()))


class Node:
    """`gpujobs node join` in a box."""

    def __init__(self, box: Box, head: Box, token: Path, *, slots: int = 1, name: str | None = None) -> None:
        self.box, self.head = box, head
        self.name = name or box.name
        self.state = box.root / "s"
        self.token = box.root / "node.json"
        shutil.copy(token, self.token)
        self.token.chmod(0o600)
        self.log = box.root / "node.log"
        self.slots = slots
        self.environment: Mapping[str, str] = {
            **{
                key: value
                for key, value in os.environ.items()
                if not key.startswith(("GPUJOBS_", "XDG_", "RAY_"))
            },
            **PACED,
            "PYTHONPATH": str(ROOT),
            "HOME": str(box.root),
            "GPUJOBS_STATE_DIR": str(self.state),
        }
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def command(self) -> Sequence[str]:
        return (
            *self.box.within, *COMMAND, "node", "join", f"{self.head.address}:{PORT}", "--token-file",
            str(self.token), "--name", self.name, "--cpu-slots", str(self.slots),
        )  # fmt: skip

    def start(self) -> None:
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command,
                env=self.environment,
                cwd=self.box.root,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def live_in(self, state: Path) -> None:
        """With another state directory, it is another box."""
        self.state = state
        self.environment = {**self.environment, "GPUJOBS_STATE_DIR": str(state)}

    def refused(self) -> str:
        """Joins, which is refused: what it says."""
        done = subprocess.run(
            self.command, env=self.environment, cwd=self.box.root, capture_output=True, text=True, timeout=60,
            check=False,
        )  # fmt: skip
        assert done.returncode not in (0, -9), done.stderr
        return done.stderr

    def kill(self) -> None:
        """The whole box at once."""
        _kill_in(self.box.space)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(30)

    def story(self) -> str:
        logs = (self.log, self.state / "run/ray.log", *self.state.glob("run/launcher-*.log"))
        return "\n".join(
            f"--- {self.name}: {log.name}\n{log.read_text(errors='replace')[-4000:]}"
            for log in logs
            if log.exists()
        )


class Cluster:
    """A head and nodes that have joined. `head_from`: where the head's program is."""

    def __init__(
        self,
        made: Sequence[Box],
        *,
        slots: int = 1,
        config: str = "",
        site: bool = False,
        head_from: Callable[[Box], Path] = lambda _: ROOT,
    ) -> None:
        head = made[0]
        text = f'[cluster]\nlisten = "{head.address}:{PORT}"\n{config}'
        self.daemon = RunningDaemon(
            head.root,
            slots=slots,
            config=text,
            within=head.within,
            site=site,
            environment={"PYTHONPATH": str(head_from(head))},
        )
        self.boxes, self.slots = made, slots
        self.nodes: list[Node] = []
        self.token = head.root / "token.json"

    def start(self) -> None:
        self.daemon.start()
        self.daemon.cli("node", "token", self.token, code=0)
        self.nodes = [Node(box, self.boxes[0], self.token, slots=self.slots) for box in self.boxes[1:]]
        for node in self.nodes:
            node.start()
        self.until_all("ok")

    def node(self, name: str) -> dict[str, Any]:
        found = {node["name"]: node for node in self.daemon.get("/v1/nodes")["nodes"]}
        answer: dict[str, Any] = found.get(name, {"status": "unknown"})
        return answer

    def until(self, name: str, status: str, seconds: float = 90.0) -> dict[str, Any]:
        def reached() -> dict[str, Any] | None:
            found = self.node(name)
            return found if found["status"] == status else None

        found: dict[str, Any] = eventually(reached, seconds, self.story)
        return found

    def until_all(self, status: str) -> None:
        for node in self.nodes:
            self.until(node.name, status)

    def until_ended(self, jobs: Sequence[int], seconds: float = 120) -> list[dict[str, Any]]:
        def ended() -> list[dict[str, Any]] | None:
            found = [self.daemon.job(job) for job in jobs]
            return found if all(job["state"] in FINAL for job in found) else None

        found: list[dict[str, Any]] = eventually(ended, seconds, self.story)
        return found

    def on(self, name: str, epochs: int = ENDLESS) -> int:
        """A job that runs on this box."""
        return self.daemon.submit_quick(f"on-{name}", epochs=epochs, more=f"resources: {{node: {name}}}\n")

    def attempts_of(self, job: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.daemon.show(job)["attempts"]
        return found

    def story(self) -> str:
        with suppress(Exception):
            print(json.dumps(self.daemon.get("/v1/nodes")), file=sys.stderr)
        return "\n".join([self.daemon.story(), *(node.story() for node in self.nodes)])

    def stop(self) -> None:
        """The daemon first: it ends what runs on the nodes."""
        self.daemon.stop()
        for node in self.nodes:
            node.stop()


@contextmanager
def cluster(
    count: int = 2, *, prepare: Callable[[list[Box]], None] = lambda _: None, **options: Any
) -> Iterator[Cluster]:
    """`prepare` does something to the boxes before anything runs in them."""
    with boxes(count) as made:
        prepare(made)
        running = Cluster(made, **options)
        try:
            running.start()
            yield running
        except BaseException:
            print(running.story(), file=sys.stderr)
            raise
        finally:
            with suppress(Exception):
                running.stop()


SNIFFER = """
import socket, sys
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 20)
wire.bind(("eth0", 0))
with open(sys.argv[1], "wb", buffering=0) as seen:
    while True:
        seen.write(wire.recv(1 << 17))
"""


@contextmanager
def sniffed(box: Box) -> Iterator[Path]:
    """Every packet at the box's cable, one after the other in a file."""
    seen = box.root / "packets"
    command = ["ip", "netns", "exec", box.space, sys.executable, "-c", SNIFFER, str(seen)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        eventually(seen.exists, 20, lambda: "the sniffer does not start")
        yield seen
    finally:
        process.kill()
        process.wait()


def slept(seconds: float) -> None:
    """A link that is cut for so long: the time itself is what is tried."""
    time.sleep(seconds)
