"""The pages of a site of three nodes, one of which is away, in a real browser. Pictures go to the directory that
GPUJOBS_PICTURES names."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gpujobs.daemon.build import Parts
from gpujobs.model import Device, DeviceKind, Node, NodeStatus, Process, utc_now
from tests.unit.store.jobs import new_job

from .browser import CHROMIUM, Browser
from .test_pages import ROOT, browse, nothing, shoot
from .test_web import Site, opened

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here; `apt install chromium`")

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
WHY = (
    "away since 2026-01-05 12:00 UTC: it does not answer; what runs there goes on, and is started elsewhere after "
    "2026-01-05 12:10 UTC unless it comes back"
)


def gpus(node: str, model: str, gib: int) -> tuple[Device, ...]:
    return tuple(
        Device(node, DeviceKind.GPU, index, f"GPU-{node}-{index}", model, gib << 30, 9 << 30, 80, 60)
        for index in range(2)
    )


def fill(daemon: Parts) -> None:
    boxes = {
        "box1": gpus("box1", "NVIDIA H100 80GB HBM3", 80),
        "box2-with-a-long-name.example.org": gpus(
            "box2-with-a-long-name.example.org", "NVIDIA A100-SXM4-40GB", 40
        ),
        "box3": gpus("box3", "NVIDIA H100 80GB HBM3", 80),
    }
    stranger = (Process(77, "dora", 3 << 30, "python notebook.py"),)
    nodes = {name: Node(name, NodeStatus.OK, "", devices) for name, devices in boxes.items()}
    first, second = boxes["box1"]
    nodes["box1"] = replace(nodes["box1"], devices=(first, replace(second, processes=stranger)))
    lost = tuple(replace(one, fault="its box is away") for one in boxes["box3"])
    nodes["box3"] = Node("box3", NodeStatus.DOWN, WHY, lost, NOON)
    daemon.nodes._nodes = nodes
    daemon.nodes.probe = nothing  # type: ignore[method-assign]  # no agent answers here
    for name, devices in boxes.items():
        (job,) = daemon.store.submit(ROOT, name, [replace(new_job(f"lstm-{name[:4]}"), data=())])
        attempt = daemon.store.start_attempt(job.id, devices[0]).attempt
        running = daemon.store.mark_running(job.id, attempt, 1, utc_now() - timedelta(minutes=20))
        daemon.cache.put(running)
        daemon.cache.set_progress(job.id, {"epoch": 7, "epochs": 20, "loss": 0.21})
        before = datetime.now(UTC) - timedelta(hours=3)
        daemon.store._connection.execute(
            "UPDATE attempts SET started_at = ? WHERE job = ?", (before.isoformat(), job.id)
        )
    daemon.cache.set_away("box3", NOON)


async def look(site: Site, browser: Browser, pictures: Path | None) -> None:
    await browser.look()
    await browser.call("Page.navigate", url=site.link())
    await browser.until("document.querySelectorAll('.queue tbody tr').length == 3")
    heads = await browser.run("[...document.querySelectorAll('.node > h2')].map((one) => one.textContent)")
    assert [head.split()[0] for head in heads] == ["box1", "box2-with-a-long-name.example.org", "box3"]
    assert "0 of 2 free" in heads[0] and "away since" in heads[2] and "it does not answer" in heads[2]
    cards = await browser.run(
        "[...document.querySelectorAll('.node')].map((one) => one.querySelectorAll('.card').length)"
    )
    assert cards == [2, 2, 2]
    away = await browser.run("document.querySelector('.node:last-of-type .card').textContent")
    assert "away" in away and "last known: job 3" in away and "GiB" not in away
    rows = await browser.run(
        "[...document.querySelectorAll('.queue tbody tr')].map((one) => one.textContent)"
    )
    assert any(
        "box3:gpu 0" in row and "away since" in row and "last known: epoch 7/20" in row for row in rows
    )
    assert await browser.run("document.documentElement.scrollWidth <= innerWidth"), (
        "nothing is wider than the page"
    )
    await shoot(browser, pictures, "nodes-now")
    await browser.run("location.hash = 'timeline'")
    await browser.until("document.querySelectorAll('.lane h2').length == 6")
    heads = await browser.run("[...document.querySelectorAll('.lanes .of')].map((one) => one.textContent)")
    assert [head.split()[0] for head in heads] == ["box1", "box2-with-a-long-name.example.org", "box3"]
    assert "away since" in heads[2]
    await shoot(browser, pictures, "nodes-timeline")
    site.on_loop(lambda daemon: daemon.cache.set_away("box3", None))
    await browser.run("location.hash = 'now'")
    await browser.until(
        "document.querySelectorAll('.queue tbody tr').length == 3"
        " && !document.querySelector('.queue').textContent.includes('last known')"
    )
    assert not browser.complaints, browser.complaints[0]


def test_devices_and_lanes_stand_by_node_and_one_that_is_away_says_since_when(as_root: None) -> None:
    with opened() as site:
        site.on_loop(fill)
        browse(site, look)
