"""What a daemon does in its first seconds, while Ray and the launcher start."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from gpujobs.model import NodeStatus
from tests.acceptance.harness import RunningDaemon, eventually, short_directory, write_job

from .node import new_daemon


def test_a_check_waits_for_a_daemon_that_has_just_been_started() -> None:
    root = short_directory()
    daemon = RunningDaemon(root)
    try:
        daemon.start(wait=False)
        eventually(daemon.socket.exists, 30, daemon.story)
        assert [node["status"] for node in daemon.get("/v1/info")["nodes"]] == ["starting"]
        (found,) = json.loads(daemon.cli("check", write_job(root, units=4), "--json", code=0).stdout)
        assert found["report"]["layers"][0]["class"] == "LSTM"
    finally:
        daemon.stop()
        shutil.rmtree(root, ignore_errors=True)


@pytest.mark.parametrize("status", [NodeStatus.STARTING, NodeStatus.OK])
def test_the_devices_of_this_machine_are_known_before_its_node_has_told_them(
    tmp_path: Path, status: NodeStatus
) -> None:
    """Else a job that none of them could ever be for would be taken meanwhile."""
    daemon = new_daemon(tmp_path / "s")
    daemon.nodes.report(daemon.node_name, status, "")
    (own,) = asyncio.run(daemon.nodes.members())
    assert own.name == daemon.node_name and own.devices
    daemon.store.close()
