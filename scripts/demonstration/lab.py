"""The box: made-up GPUs, the people of a lab where we are root, a daemon of its own. All is gone at the end."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demonstration import past
from gpujobs.daemon.access.identity import user_name
from gpujobs.daemon.main import prepare_state
from gpujobs.daemon.modes import Mode
from gpujobs.paths import StatePaths
from tests.acceptance.harness import RunningDaemon, processes_of, short_directory
from tests.acceptance.people import Person, as_person, cli_as
from tests.fake_nvml import GIB, FakeGpus, box

ROOT = Path(__file__).parents[2]
HOST = "box"
NAMES = ("ann", "ben", "carla", "dora")
FIRST_UID = 63_001
"""Seldom taken; what is taken is hidden from our own processes alone."""

IS_ALONE = bool(os.environ.get("GPUJOBS_DEMO_ALONE"))
"""In a mount namespace of our own: what is mounted here is nobody else's."""

CONFIG = """[web]
listen = "127.0.0.1:0"
[shares.users]
ann = 2
"""


@dataclass(frozen=True, slots=True)
class Lab:
    root: Path
    daemon: RunningDaemon
    gpus: FakeGpus
    people: dict[str, Person]
    """By name; of a personal daemon all are the same one."""

    def run(self, name: str, *arguments: object) -> str:
        """A command of this person's. Raises RuntimeError where it fails."""
        person = self.people[name]
        done = cli_as(person, self.daemon, *arguments) if IS_ALONE else self.daemon.cli(*arguments)
        if done.returncode != 0:
            raise RuntimeError(f"{name}: gpujobs {' '.join(map(str, arguments))}: {done.stderr}")
        return str(done.stdout)

    def as_admin(self, *arguments: object) -> str:
        return str(self.daemon.cli(*arguments, code=0).stdout)

    def submit(self, name: str, file: Path, *options: object) -> list[int]:
        return [int(job["id"]) for job in json.loads(self.run(name, "submit", file, *options, "--json"))]

    def link(self, name: str = "ann") -> str:
        return str(json.loads(self.run(name, "web", "--no-browser", "--json"))["url"])

    def as_somebody(self, name: str, function: Any) -> Any:
        return as_person(self.people[name], function) if IS_ALONE else function()

    def stranger(self, name: str, gpu: int, words: str, memory_gib: int) -> None:
        """A process of this person's, which NVML is to show on a GPU; what it really does is sleep."""
        person = self.people[name]
        identity = {"user": person.uid, "group": person.gid, "extra_groups": []} if IS_ALONE else {}
        process = subprocess.Popen([words, "86400"], executable="/bin/sleep", cwd="/", **identity)  # type: ignore[call-overload]
        strangers.append(process)
        self.gpus.processes.append((gpu, "C", process.pid, memory_gib * GIB))
        self.gpus.gpus[gpu].used_bytes += memory_gib * GIB
        self.gpus.write()


strangers: list[subprocess.Popen[bytes]] = []


@contextmanager
def opened() -> Iterator[Lab]:
    root = short_directory()
    root.chmod(0o755)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, root, ignore_errors=True)
        stack.callback(end, root)
        people = settle(root) if IS_ALONE else dict.fromkeys(NAMES, ourselves(root))
        gpus = box(root, 4, name="NVIDIA H100 80GB HBM3", trainer_bytes=21 * GIB)
        daemon = RunningDaemon(root, slots=1, site=IS_ALONE, config=CONFIG if IS_ALONE else "",
                               environment={**gpus.environment, "GPUJOBS_REQUIRE_GPU": "0", "TZ": "UTC"})  # fmt: skip
        prepare_state(daemon.paths, Mode.SITE if IS_ALONE else Mode.PERSONAL)
        past.write(
            StatePaths(daemon.state).database, [people[name] for name in NAMES[:3]], socket.gethostname()
        )
        stack.callback(stop, daemon)
        print("starting a daemon", file=sys.stderr)
        daemon.start()
        yield Lab(root, daemon, gpus, people)


def settle(root: Path) -> dict[str, Person]:
    """Users, groups and a host name that our own processes see, and nobody else."""
    socket.sethostname(HOST)
    people = {
        name: Person(name, FIRST_UID + n, FIRST_UID + n, root / "home" / name) for n, name in enumerate(NAMES)
    }
    lines = {
        "passwd": "".join(f"{p.name}:x:{p.uid}:{p.gid}::{p.home}:/bin/sh\n" for p in people.values()),
        "group": "".join(f"{p.name}:x:{p.gid}:\n" for p in people.values()),
        "hosts": f"127.0.0.1 {HOST}\n",
    }
    # All of /etc: a file that somebody else's `useradd` replaces would take a mount on it along, here too.
    own = root / "etc"
    subprocess.run(["cp", "--archive", "/etc", own], check=True)
    for secret in (*own.glob("*shadow*"), *own.glob("ssh/*key*"), *own.glob("ssl/private/*")):
        secret.unlink()
    for name, text in lines.items():
        with (own / name).open("a") as file:
            file.write(text)
    subprocess.run(["mount", "--bind", own, "/etc"], check=True)
    for person in people.values():
        person.home.mkdir(parents=True)
        os.chown(person.home, person.uid, person.gid)
    return people


def ourselves(root: Path) -> Person:
    return Person(user_name(os.getuid()), os.getuid(), os.getgid(), root)


def stop(daemon: RunningDaemon) -> None:
    if daemon.is_running():
        daemon.cli("stop", "--cancel", timeout=60)
        daemon.wait_end()


def end(root: Path) -> None:
    for process in strangers:
        process.kill()
        process.wait()
    for pid in processes_of(root):
        os.kill(pid, 9)
