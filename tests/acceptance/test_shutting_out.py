"""A box is shut out while others train, and then out of Ray's own ports too."""

from __future__ import annotations

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
        assert lost.process.wait(60) == 5
        # Both have joined with the same file: the token file of box2 is refused, its own certificate is not.
        assert "was revoked at" in lost.refused()
        renewed = made.daemon.json("node", "renew")
        assert renewed == {"renewed": ["box2"], "left_out": []}
        made.until("box1", "ok")
        made.until("box2", "ok")
        assert "is not of the cluster that this token file is for" in lost.refused()
        made.nodes.remove(lost)
        assert made.daemon.job(job)["state"] == "RUNNING" and len(made.attempts_of(job)) == 1
        made.daemon.cli("cancel", job, code=0)
        (ended,) = made.until_ended([job])
        assert ended["state"] == "CANCELLED"
        assert made.until_ended([made.on("box2", epochs=1)])[0]["state"] == "COMPLETED"
