"""What a daemon does in its first seconds, while Ray and the launcher start."""

from __future__ import annotations

import json
import shutil

from tests.acceptance.harness import RunningDaemon, eventually, short_directory, write_job


def test_a_check_waits_for_a_daemon_that_has_just_been_started() -> None:
    root = short_directory()
    daemon = RunningDaemon(root)
    try:
        daemon.start(wait=False)
        eventually(daemon.socket.exists, 30, daemon.story)
        assert [node["status"] for node in daemon.get("/v1/info")["nodes"]] == ["starting"]
        (found,) = json.loads(daemon.cli("check", write_job(root), "--json", code=0).stdout)
        assert found["report"]["layers"][0]["class"] == "LSTM"
    finally:
        daemon.stop()
        shutil.rmtree(root, ignore_errors=True)
