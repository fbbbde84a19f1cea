"""A job that asks for a node gets it, or is refused at the line that says so."""

from __future__ import annotations

import pytest

from gpujobs.daemon.jobs.checks import check_places
from gpujobs.errors import JobFileError
from gpujobs.model import Device, DeviceKind, Node, NodeStatus
from gpujobs.policy import Rules

from .test_site_defaults import prepared


def check(more: str, *nodes: str) -> None:
    check_places([prepared(more)], [Node(name, NodeStatus.STARTING) for name in nodes], Rules())


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


def test_each_constraint_that_leaves_nothing_is_refused_at_its_line() -> None:
    gpu = Device("box1", DeviceKind.GPU, 0, "GPU-0", "NVIDIA A100", 40 << 30, 0)
    box = Node("box1", NodeStatus.OK, "", (gpu,))
    jobs = [
        prepared("resources:\n  time_limit: 1h\n  gpu_name: H100\n"),
        prepared("resources:\n  node: box1\n  gpu_memory: 41GiB\n"),
        prepared("resources:\n  gpu: 1\n"),
        prepared("resources:\n  gpu_name: a100\n  gpu_memory: 39GiB\n"),
    ]
    with pytest.raises(JobFileError) as caught:
        check_places(jobs, [box], Rules())
    assert [(one.line, one.message.partition(";")[0]) for one in caught.value.problems] == [
        (6, "resources.gpu_name is H100"),
        (6, "gpu_memory is 41.0 GiB, more than any device of box1 can share"),
        (5, "GPU 1: this box has 0"),
    ]
