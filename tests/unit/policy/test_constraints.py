"""A job that no device of the site could ever have is told so, with the constraint and what there is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gpujobs.demand import Demand, is_called
from gpujobs.model import Device, DeviceKind, Node, NodeStatus
from gpujobs.policy.devices.constraints import ConstraintError, check_constraints
from gpujobs.policy.inputs.rules import PackingRules

GIB = 1 << 30
RULES = PackingRules(margin_bytes=GIB)


def node(name: str, *models: tuple[str, int]) -> Node:
    devices = tuple(
        Device(name, DeviceKind.GPU, index, f"GPU-{name}{index}", model, gib * GIB, 0)
        for index, (model, gib) in enumerate(models)
    )
    return Node(name, NodeStatus.OK, "", devices)


BIG, SMALL = ("NVIDIA H100 80GB HBM3", 80), ("NVIDIA GeForce RTX 4090", 24)
SITE = [
    node("a", BIG, BIG),
    node("b", SMALL),
    Node("c", NodeStatus.OK, "", (Device("c", DeviceKind.CPU, 0, "CPU-c-0", "Xeon"),)),
]


def said(nodes: list[Node] = SITE, **asked: Any) -> tuple[str, str]:
    with pytest.raises(ConstraintError) as caught:
        check_constraints(Demand(**asked), nodes, RULES)
    return caught.value.key, caught.value.message


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [("H100", True), ("h100", True), ("100", True), ("NVIDIA*", True), ("*HBM3", True), ("*H1?0*", True),
     ("H100*", False), ("A100", False), ("[Hh]100", False), ("?", False)],
)  # fmt: skip
def test_a_gpu_is_called_by_a_part_of_its_name_or_a_pattern_of_all_of_it(pattern: str, matches: bool) -> None:
    assert is_called(BIG[0], pattern) is matches


def test_a_pattern_of_many_stars_takes_no_time_and_brackets_are_plain() -> None:
    assert not is_called("a" * 99 + "c", "*a" * 40 + "*b")
    assert is_called("NVIDIA [engineering sample]", "*[engineering*")


def test_a_job_may_ask_for_no_more_memory_than_any_device_can_share() -> None:
    one = [node("a", BIG, SMALL)]
    check_constraints(Demand(gpu_memory=79 * GIB), one, RULES)
    key, message = said(one, gpu_memory=80 * GIB)
    assert key == "gpu_memory"
    assert message == (
        "gpu_memory is 80.0 GiB, more than any device can share; at most 79.0 GiB are allowed. Without gpu_memory the "
        "job gets a whole device."
    )


@pytest.mark.parametrize(
    ("asked", "key", "message"),
    [
        ({"node": "d"}, "node", "this site has the nodes a, b and c; resources.node says d. Leave it out"),
        ({"node": ("a", "x", "y")}, "node", "resources.node says x and y. Leave it out"),
        ({"requested_gpu": 2}, "gpu", "GPU 2: this site has 0 to 1"),
        ({"requested_gpu": 1, "node": "b"}, "gpu", "GPU 1: b has 0"),
        ({"requested_gpu": 0, "node": "c"}, "gpu", "no GPU; leave resources.gpu out to use a CPU slot"),
        ({"gpu_name": "A100"}, "gpu_name",
         "resources.gpu_name is A100; this site has NVIDIA H100 80GB HBM3 (a) and NVIDIA GeForce RTX 4090 (b)"),
        ({"gpu_name": "H100", "node": ("b", "c")}, "gpu_name",
         "resources.gpu_name is H100; b or c has NVIDIA GeForce RTX 4090 (b)"),
        ({"gpu_name": "H100", "node": "c"}, "gpu_name", "c has no GPU; leave resources.gpu_name out"),
        ({"gpu_name": "H100", "requested_gpu": 0, "node": ("b", "a"), "gpu_memory": 81 * GIB}, "gpu_memory",
         "gpu_memory is 81.0 GiB, more than any GPU 0 called H100 of a or b can share; at most 79.0 GiB"),
        ({"node": "b", "gpu_memory": 30 * GIB}, "gpu_memory",
         "more than any device of b can share; at most 23.0 GiB (NVIDIA GeForce RTX 4090 of b) are allowed"),
    ],
)  # fmt: skip
def test_the_constraint_that_leaves_nothing_is_named_with_what_there_is(
    asked: dict[str, Any], key: str, message: str
) -> None:
    found = said(**asked)
    assert found[0] == key
    assert message in found[1]


@pytest.mark.parametrize(
    ("count", "named"), [(8, "n0, n1, n2, n3, n4, n5, n6, n7)"), (9, "n7 and 1 more node)")]
)
def test_of_many_nodes_some_are_named(count: int, named: str) -> None:
    site = [node(f"n{number}", SMALL) for number in range(count)]
    assert f"{named}; expected a part of such a name" in said(site, gpu_name="A100")[1]


def test_each_alone_may_be_met_and_both_together_not() -> None:
    for asked in ({"gpu_name": "4090"}, {"gpu_memory": 60 * GIB}, {"node": "b"}):
        check_constraints(Demand(**asked), SITE, RULES)
    assert said(gpu_name="4090", gpu_memory=60 * GIB)[0] == "gpu_memory"


def test_what_a_node_has_whose_devices_are_not_known_may_be_what_is_asked_for() -> None:
    away = [*SITE, Node("d", NodeStatus.DOWN, "it has not joined again since the daemon was started")]
    check_constraints(Demand(gpu_name="A100"), away, RULES)
    check_constraints(Demand(node="d", requested_gpu=7), away, RULES)
    assert said(away, gpu_name="A100", node="a")[0] == "gpu_name"


def test_a_node_that_is_away_counts_with_the_devices_it_had() -> None:
    away = [replace(SITE[0], status=NodeStatus.DOWN), *SITE[1:]]
    check_constraints(Demand(gpu_name="H100"), away, RULES)
