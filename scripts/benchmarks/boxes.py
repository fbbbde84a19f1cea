"""Several boxes, in network namespaces of this machine: data to a node beside a plain copy over the same link, data to
three nodes at once beside one, and the way from an acknowledged submission to a trainer's first line there. As root."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.support.options import Options
from benchmarks.support.rows import Row, ratios
from benchmarks.support.spent import in_words, spent
from gpujobs.client.submission import read_job_files
from tests.acceptance.boxes import Box, Cluster, cluster, why_not
from tests.acceptance.harness import ROOT, eventually, write_job

LINK = "1gbit" if (os.cpu_count() or 1) >= 8 else "400mbit"
"""Of each box, in each direction. A lab's boxes have 1gbit at least; but four boxes that share two cores cannot keep
that busy: what goes to three takes 38 seconds of a core for each GiB, half of it for Ray's TLS and transport."""

COPY_AT_MOST = 1.3
THREE_AT_MOST = 1.3
PAIRS = 8
"""Of jobs, one here and one there: each trains for some seconds."""

LINE_AT_MOST, LINE_MORE_SECONDS = 1.5, 0.1

RECEIVE = """
import os, socket, sys
listener = socket.create_server((sys.argv[1], 9000))
print("ready", flush=True)
connection, _ = listener.accept()
with open(sys.argv[2], "wb", buffering=0) as file:
    while piece := connection.recv(1 << 20):
        file.write(piece)
    os.fsync(file.fileno())
connection.sendall(b".")
"""
SEND = """
import socket, sys
connection = socket.create_connection((sys.argv[1], 9000))
with open(sys.argv[2], "rb") as file:
    connection.sendfile(file)
connection.shutdown(socket.SHUT_WR)
connection.recv(1)
"""


def measure(options: Options) -> list[Row]:
    if why := why_not():
        return [Row("data to a node / a plain copy", "ratio", (), COPY_AT_MOST, why)]
    with cluster(4) as made:
        lines = first_lines(made, min(options.commands, PAIRS))
        for box in made.boxes:
            _slow_down(box)
        copies, ones, threes = [], [], []
        cores: list[tuple[float, float]] = []
        for number in range(options.repeat):
            data = _data(made.daemon.root, options.box_bytes, number)
            copies.append(_copied(made.boxes[0], made.boxes[1], data))
            before = spent(made.boxes)
            ones.append(delivered(made, f"one{number}", data, ["box2"]))
            between = spent(made.boxes)
            again = _data(made.daemon.root, options.box_bytes, number + 1000)
            threes.append(delivered(made, f"three{number}", again, ["box2", "box3", "box4"]))
            after = spent(made.boxes)
            cores.append(((between - before).total(), (after - between).total()))
            if options.say is not None:
                options.say(f"copy {copies[-1]:.2f} s, one {ones[-1]:.2f} s, three {threes[-1]:.2f} s")
                options.say(f"core seconds, one: {in_words(before, between)}")
                options.say(f"core seconds, three: {in_words(between, after)}")
                options.say(_from_the_head(made))
    size = f"{options.box_bytes / 2**20:.0f} MiB"
    return [
        Row(f"{size} over a link of {LINK}: a plain copy", "s", tuple(copies)),
        Row(f"{size} over a link of {LINK}: to a node", "s", tuple(ones)),
        Row(f"{size} over a link of {LINK}: to three nodes at once", "s", tuple(threes)),
        Row(f"{size} to a node: of all cores, with the submission", "s", tuple(one for one, _ in cores)),
        Row(f"{size} to three: of all cores, with the submission", "s", tuple(three for _, three in cores)),
        ratios("data to a node / a plain copy", ones, copies, COPY_AT_MOST),
        ratios("data to three nodes at once / to one", threes, ones, THREE_AT_MOST),
        *lines,
    ]


def _from_the_head(made: Cluster) -> str:
    """How often data had to leave the head's box again, as no other gave it."""
    log = (made.daemon.state / "run/head.log").read_text(errors="replace")
    again = [line for line in log.splitlines() if "comes from here" in line]
    return "\n".join([f"{len(again)} deliveries came from the head's box, as no other gave them", *again])


def _slow_down(box: Box) -> None:
    """What it sends, and so what the others get from it."""
    box.run(
        "tc", "qdisc", "add", "dev", "eth0", "root", "tbf", "rate", LINK, "burst", "256kb", "latency", "50ms"
    )


def _data(directory: Path, size: int, number: int) -> Path:
    """The tutorial's data with something beside it that no other has, so that it goes out each time."""
    with np.load(ROOT / "jobs/data/tutorial.npz") as tutorial:
        arrays = dict(tutorial)
    ballast = np.full(size, number % 251, np.uint8)
    ballast[:8] = np.frombuffer(os.urandom(8), np.uint8)
    path = directory / "big.npz"
    np.savez(path, **arrays, ballast=ballast)
    return path


def _copied(source: Box, target: Box, data: Path) -> float:
    within = ("ip", "netns", "exec")
    receiver = subprocess.Popen(
        [*within, target.space, sys.executable, "-c", RECEIVE, target.address, str(target.root / "copy")],
        stdout=subprocess.PIPE,
    )
    assert receiver.stdout is not None
    receiver.stdout.readline()
    began = time.perf_counter()
    subprocess.run([*within, source.space, sys.executable, "-c", SEND, target.address, str(data)], check=True)
    seconds = time.perf_counter() - began
    receiver.wait()
    (target.root / "copy").unlink()
    return seconds


def delivered(made: Cluster, name: str, data: Path, nodes: Sequence[str]) -> float:
    """From the acknowledged submission to the last box that has all of it, verified and under its name."""
    job = write_job(made.daemon.root, name, epochs=1)
    job.write_text(job.read_text().replace("tutorial.npz", data.name))
    jobs = []
    for node in nodes:
        (one,) = made.daemon.submit(job, "--hold", "--set", f"resources.node={node}")
        jobs.append(one)
    stores = [node.state / "spool/data" for node in made.nodes if node.name in nodes]
    before = {path for store in stores for path in store.glob("*/*")}
    with made.daemon.client() as client:
        client.post("/v1/jobs/release", {"ids": jobs})
        began = time.perf_counter()

    def all_there() -> bool:
        return all(
            any(path not in before and not path.name.startswith(".") for path in store.glob("*/*"))
            for store in stores
        )

    eventually(all_there, 300, made.story)
    seconds = time.perf_counter() - began
    with made.daemon.client() as client:  # what they would train is not what is measured
        client.post("/v1/jobs/cancel", {"ids": jobs})
    made.until_ended(jobs)
    return seconds


def first_lines(made: Cluster, count: int) -> list[Row]:
    """By turns here and there, after each has had its data and its launcher once."""
    for node in ("box1", "box2"):
        first_line(made, node)
    pairs = [(first_line(made, "box1"), first_line(made, "box2")) for _ in range(count)]
    here, there = [one for one, _ in pairs], [other for _, other in pairs]
    bound = sorted(here)[len(here) // 2] * LINE_AT_MOST + LINE_MORE_SECONDS
    what = "submission acknowledged to trainer's first line"
    return [Row(f"{what}: own box", "s", tuple(here)), Row(f"{what}: a node", "s", tuple(there), bound)]


def first_line(made: Cluster, node: str) -> float:
    job = write_job(made.daemon.root, f"line-{node}", epochs=1)
    body = {"request_key": os.urandom(16).hex(), "set": {"resources.node": node}}
    with made.daemon.client() as client:
        (one,) = read_job_files([str(job)]).send(client, "/v1/jobs", body)["jobs"]
        acknowledged = time.perf_counter()
        with client.open(f"/v1/jobs/{one['id']}/log", follow=True) as log:
            log.readline()
            seconds = time.perf_counter() - acknowledged
    made.until_ended([one["id"]])
    return seconds
