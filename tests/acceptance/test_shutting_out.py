"""A box is shut out while others train, and then out of Ray's own ports too; one loses its state while it trains."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from .boxes import cluster
from .harness import eventually

pytestmark = pytest.mark.slow  # three Rays start, and again


def test_a_box_is_shut_out_while_a_training_on_another_goes_on() -> None:
    with cluster(3) as made:
        job = made.on("box2")
        eventually(lambda: made.daemon.job(job)["state"] == "RUNNING", 60, made.story)
        said = made.daemon.cli("node", "remove", "box3", "--revoke", code=0).stdout
        assert said.startswith(
            "box3 is shut out: its certificate is refused from now on, and so are the token files"
        )
        lost = made.nodes[-1]
        assert lost.process is not None
        assert lost.process.wait(60) in (4, 5)
        # Both have joined with the same file: the token file of box2 is refused, its own certificate is not.
        assert "was revoked at" in lost.refused()
        renewed = made.daemon.json("node", "renew")
        assert renewed == {"renewed": ["box2"], "left_out": []}
        # Ray ends a moment later.
        another = "is not of the cluster that this token file is for"
        eventually(lambda: another in lost.refused(), 90, made.story)
        made.until("box2", "ok")
        made.nodes.remove(lost)
        assert made.daemon.job(job)["state"] == "RUNNING" and len(made.attempts_of(job)) == 1
        made.daemon.cli("cancel", job, code=0)
        (ended,) = made.until_ended([job])
        assert ended["state"] == "CANCELLED"
        assert made.until_ended([made.on("box2", epochs=1)])[0]["state"] == "COMPLETED"


def test_a_node_whose_state_is_removed_while_it_trains_is_the_same_node_again_with_one_trainer() -> None:
    with cluster(2) as made:
        job = made.on("box2")
        eventually(lambda: made.daemon.job(job)["state"] == "RUNNING", 60, made.story)
        first = made.daemon.job(job)["pid"]
        subprocess.run(["rm", "-rf", made.nodes[0].state], check=True)  # beside who makes it again
        eventually(lambda: len(made.attempts_of(job)) == 2, 90, made.story)
        eventually(lambda: made.daemon.job(job)["state"] == "RUNNING", 90, made.story)
        assert not Path(f"/proc/{first}").exists() and made.daemon.job(job)["node"] == "box2"
        assert "was removed, or replaced, while this box worked" in made.nodes[0].log.read_text()
        assert made.nodes[0].process is not None and made.nodes[0].process.poll() is None
