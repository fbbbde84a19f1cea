"""`serve --ray-address`: a Ray that is there already, on two boxes where nothing of gpujobs runs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest

from .boxes import Box, boxes
from .harness import ROOT, RunningDaemon, eventually, write_job

pytestmark = pytest.mark.slow

PORT = 6379

ENTRY = "from ray.scripts.scripts import main; main()"
"""The command `ray`, of this very Python."""


@contextmanager
def ray_on(box: Box, *where: str) -> Iterator[None]:
    """As somebody has started it, without gpujobs."""
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("GPUJOBS_", "RAY_"))
    }
    home = box.root / "home"
    home.mkdir(exist_ok=True)
    command = [*box.within, sys.executable, "-c", ENTRY, "start", *where, f"--node-ip-address={box.address}",
               "--num-gpus=0", "--disable-usage-stats", "--block"]  # fmt: skip
    with (box.root / "ray.out").open("wb") as output:
        process = subprocess.Popen(
            command, env={**environment, "PYTHONPATH": str(ROOT), "HOME": str(home)}, stdin=subprocess.DEVNULL,
            stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


def test_jobs_run_on_all_nodes_of_a_ray_that_is_there_and_it_outlives_the_daemon() -> None:
    with boxes(2) as made, ExitStack() as stack:
        head, other = made
        stack.enter_context(
            ray_on(
                head, "--head", f"--port={PORT}", "--include-dashboard=false", f"--temp-dir={head.root / 'r'}"
            )
        )
        address = f"{head.address}:{PORT}"
        stack.enter_context(ray_on(other, f"--address={address}", f"--temp-dir={head.root / 'r'}"))
        daemon = RunningDaemon(head.root, slots=1, within=head.within, flags=("--ray-address", address))
        try:
            daemon.start()

            def both() -> bool:
                nodes = {node["name"]: node["status"] for node in daemon.get("/v1/nodes")["nodes"]}
                return nodes == {"box1": "ok", "box2": "ok"}

            eventually(both, 90, daemon.story)
            assert "all as the user of that Ray" in daemon.log.read_text()
            file = write_job(daemon.root, "far", epochs=2, more="resources: {node: box2}\n")
            near = write_job(daemon.root, "near", epochs=2, more="resources: {node: box1}\n")
            jobs = [daemon.submit(one)[0] for one in (file, near)]
            shown = [daemon.until(job, "COMPLETED") for job in jobs]
            assert [one["node"] for one in shown] == ["box2", "box1"]
            far, here = (np.load(Path(one["results"]) / "predictions.npz") for one in shown)
            assert all(np.array_equal(far[name], here[name]) for name in here)
            assert (other.root / "home/.local/state/gpujobs-nodes").is_dir()
            daemon.restart()  # it finds its agents' places again
            eventually(both, 90, daemon.story)
        finally:
            daemon.cli("stop", "--cancel")
            daemon.wait_end()
        lives = [*head.within, sys.executable, "-c", ENTRY, "health-check", f"--address={address}"]
        assert subprocess.run(lives, capture_output=True, check=False).returncode == 0
