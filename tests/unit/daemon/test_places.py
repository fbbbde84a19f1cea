"""A job that asks for a node gets it, or is refused at the line that says so."""

from __future__ import annotations

import pytest

from gpujobs.daemon.jobs.checks import check_rules
from gpujobs.daemon.jobs.submissions import OptionsBody
from gpujobs.errors import JobFileError
from gpujobs.model import Caller, Node, NodeStatus
from gpujobs.policy import Rules

from .test_site_defaults import prepared

ANN = Caller(1000, 1000, 1, "ann")


def check(more: str, *nodes: str) -> None:
    known = [Node(name, NodeStatus.STARTING) for name in nodes]
    check_rules([prepared(more)], OptionsBody(), ANN, Rules(), known)


@pytest.mark.parametrize("nodes", [("box1",), ("box0", "box1")])
def test_a_node_that_is_there_is_accepted(nodes: tuple[str, ...]) -> None:
    check("resources: {node: box1}\n", *nodes)
    check("", *nodes)


@pytest.mark.parametrize(
    ("nodes", "has"),
    [
        (("box1",), "one node, box1"),
        (("BOX2",), "one node, BOX2"),
        (("box1", "box3"), "the nodes box1 and box3"),
    ],
)
def test_another_node_is_refused_at_its_line(nodes: tuple[str, ...], has: str) -> None:
    with pytest.raises(JobFileError) as caught:
        check("resources:\n  node: box2\n", *nodes)
    (problem,) = caught.value.problems
    said = f"this site has {has}; resources.node says box2. Leave it out for any node."
    assert (problem.line, problem.message) == (5, said)
