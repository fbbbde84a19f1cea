"""What the commands show of a site of three nodes, of which one is away; and of one box, which names no node."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gpujobs.cli import cells
from gpujobs.config.settings import Settings
from gpujobs.daemon.build import Parts
from gpujobs.lifecycle import Finish
from gpujobs.model import Caller, Device, DeviceKind, Node, NodeStatus, Reason, State, utc_now
from tests.integration.served import Served
from tests.unit.store.jobs import new_job

ME = Caller(os.getuid(), os.getgid(), 1, "me")
NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
GIB = 1 << 30
WHY = "away since 2026-01-05 12:00 UTC: it does not answer; what runs there goes on, and is started elsewhere later"


def slot(node: str, index: int) -> Device:
    return Device(node, DeviceKind.CPU, index, f"CPU-{node}-{index}", "Intel(R) Xeon(R) Platinum 8480+")


def gpu(node: str, index: int) -> Device:
    name = "NVIDIA H100 80GB HBM3"
    return Device(node, DeviceKind.GPU, index, f"GPU-{node}-{index}", name, 80 * GIB, 0, 5, 40)


def fill(daemon: Parts) -> None:
    """A job runs on each node; the GPUs are on the one that is away."""
    first = {"box1": slot("box1", 0), "box2": slot("box2", 0), "box3": gpu("box3", 0)}
    daemon.nodes._nodes = {
        name: Node(name, NodeStatus.OK, "", (first[name], slot(name, 1))) for name in ("box1", "box2")
    }
    lost = tuple(replace(one, fault="its box is away") for one in (gpu("box3", 0), gpu("box3", 1)))
    daemon.nodes._nodes["box3"] = Node("box3", NodeStatus.DOWN, WHY, lost, NOON)
    for name, device in first.items():
        (job,) = daemon.store.submit(ME, name, [new_job(f"on-{name}")])
        attempt = daemon.store.start_attempt(job.id, device).attempt
        daemon.cache.put(daemon.store.mark_running(job.id, attempt, 99, utc_now() - timedelta(seconds=90)))
        daemon.cache.set_progress(job.id, {"epoch": 3, "epochs": 20, "loss": 0.25})
    daemon.cache.set_away("box3", NOON)


def with_one_box(daemon: Parts) -> None:
    daemon.nodes._nodes = {"box1": Node("box1", NodeStatus.STARTING, "Ray is not up yet", (gpu("box1", 0),))}
    (job,) = daemon.store.submit(ME, "a", [new_job("alone")])
    attempt = daemon.store.start_attempt(job.id, gpu("box1", 0)).attempt
    daemon.cache.put(daemon.store.mark_running(job.id, attempt, 99, utc_now()))


@pytest.fixture
def three(settings: Settings) -> Iterator[Served]:
    with Served(settings, lambda _: None) as served:
        served.on_loop(fill)
        yield served


@pytest.fixture
def one(settings: Settings) -> Iterator[Served]:
    with Served(settings, lambda _: None) as served:
        served.on_loop(with_one_box)
        yield served


def shown(served: Served, *arguments: str, columns: int = 80) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "gpujobs", *arguments],
        env={**os.environ, "GPUJOBS_SOCKET": str(served.settings.socket), "COLUMNS": str(columns), "TZ": "UTC"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("columns", [80, 120])
def test_every_table_fits_and_names_the_nodes(three: Served, columns: int) -> None:
    gpus, status, lanes = (shown(three, what, columns=columns) for what in ("gpus", "status", "timeline"))
    for text in (gpus, status, lanes):
        assert max(map(cells.width, text.splitlines())) <= columns
    heads = [line for line in gpus.splitlines() if line.startswith("box")]
    assert heads[:2] == ["box1: 1 of 2 CPU slots is free", "box2: 1 of 2 CPU slots is free"]
    assert heads[2].startswith("box3: away since 2026-01-05 12:00: it does not answer; what runs there goes")
    below = gpus[gpus.index("box3:") :].splitlines()
    (row,) = [line for line in below if line.startswith("gpu 0")]
    assert row.split()[-2:] == ["away", "3"] and "its box is away" not in gpus
    (row,) = [line for line in status.splitlines() if line.startswith("3 ")]
    assert "box3:gpu 0" in row and "away since 2026-01-05 12:00" in row
    assert "\nbox3: away since 2026-01-05 12:00: it does not answer;" in status
    assert [line.split(":")[0] for line in lanes.splitlines() if line.startswith("box")] == [
        "box1",
        "box2",
        "box3",
    ]


def test_a_node_that_is_named_is_shown_alone(three: Served) -> None:
    text = shown(three, "gpus", "box2")
    assert text.count("cpu ") == 2 and "box3" not in text
    assert [one["node"] for one in json.loads(shown(three, "gpus", "box3", "--json"))] == ["box3", "box3"]


def test_a_job_is_shown_with_what_is_known_of_it(three: Served) -> None:
    text = shown(three, "show", "3", columns=120)
    assert "away since 2026-01-05 12:00; last known: epoch 3/20 loss 0.25" in text
    assert (
        json.loads(shown(three, "show", "3", "--json"))["job"]["away_since"] == "2026-01-05T12:00:00.000000Z"
    )
    assert json.loads(shown(three, "show", "1", "--json"))["job"]["away_since"] is None


def test_json_has_since_when_a_node_is_away(three: Served) -> None:
    nodes = json.loads(shown(three, "node", "list", "--json"))
    assert [(one["name"], one["since"]) for one in nodes] == [
        ("box1", None), ("box2", None), ("box3", "2026-01-05T12:00:00.000000Z"),
    ]  # fmt: skip
    assert json.loads(shown(three, "timeline", "--json"))["nodes"] == {
        "box1": "",
        "box2": "",
        "box3": WHY,
    }


def test_when_it_is_back_nothing_is_said_of_it(three: Served) -> None:
    assert "last known" in shown(three, "status", columns=120)
    three.on_loop(lambda daemon: daemon.cache.set_away("box3", None))
    assert "last known" not in shown(three, "status", columns=120)


def end_second(daemon: Parts) -> None:
    daemon.store.mark_completing(2, 1, {"state": "FAILED", "exit": {"code": None, "signal": 9}})
    daemon.store.finish(2, Finish(State.FAILED, Reason.SIGNAL, ""), None)


def test_the_log_names_the_node_of_a_start_and_of_an_end(
    three: Served, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger="gpujobs.daemon.journal"):
        three.on_loop(lambda daemon: daemon.journal.write())
        three.on_loop(end_second)
        three.on_loop(lambda daemon: daemon.devices.drains.drain([slot("box2", 1)], "new fans", "root"))
        three.on_loop(lambda daemon: daemon.journal.write())
    said = [record.getMessage() for record in caplog.records]
    assert 'job 3 of me: starts "on-box3", attempt 1: on box3, gpu 0 (GPU-box3-0)' in said
    assert 'job 2 of me: FAILED "on-box2" on cpu 0 of box2: Signal' in said
    assert "device cpu 1 of box2 (CPU-box2-1): drained by root: new fans" in said


def test_one_box_names_no_node(one: Served) -> None:
    assert "box1" not in shown(one, "status") + shown(one, "timeline")
    (head, row, note) = shown(one, "gpus").splitlines()
    assert row.startswith("gpu 0 ") and note == "node box1: Ray is not up yet" and head.startswith("DEVICE")
