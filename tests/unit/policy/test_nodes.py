"""Several nodes: where jobs go among them, and reasons that name them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gpujobs.model import Device, DeviceKind, Node, NodeStatus, Reason
from gpujobs.policy import Allocation, Decision, Reservation

from .box import GIB, later, pending, run, started

H100, A100 = "NVIDIA H100 80GB HBM3", "NVIDIA A100-SXM4-40GB"


def box(name: str, count: int = 2, model: str = H100, gib: int = 80, **values: Any) -> Node:
    devices = tuple(
        Device(name, DeviceKind.GPU, index, f"{name}{index}", model, gib * GIB, 0) for index in range(count)
    )
    return replace(Node(name, NodeStatus.OK, "", devices), **values)


def busy(*nodes: Node, of: str = "z") -> list[Allocation]:
    devices = [device for node in nodes for device in node.devices]
    return [
        Allocation(100 + number, one.node, one.uuid, user=of, started_at=later(-600))
        for number, one in enumerate(devices)
    ]


def why(decision: Decision, job: int = 1) -> tuple[Reason, str]:
    return decision.waits[job].reason, decision.waits[job].message


def test_a_job_starts_on_one_of_the_nodes_that_it_names() -> None:
    site = [box("a"), box("b"), box("c")]
    jobs = [pending(1, node=("b", "c")), pending(2, node="c"), pending(3)]
    assert started(run(jobs, site)) == [(1, "b0"), (2, "c0"), (3, "a0")]


def test_a_job_starts_on_a_gpu_that_is_called_as_it_asks() -> None:
    site = [box("a", model=A100, gib=40), box("b"), Node("c", NodeStatus.OK, "", cpu_slot())]
    jobs = [
        pending(1, gpu_name="H100"),
        pending(2, gpu_name="*a100*"),
        pending(3, gpu_name="h100", gpu_memory=GIB),
    ]
    assert started(run(jobs, site)) == [(1, "b0"), (2, "a0"), (3, "b1")]
    assert started(run([pending(1, gpu_name="Xeon")], site)) == []  # a CPU slot is no GPU


def test_a_job_starts_on_none_of_the_nodes_that_cannot_have_it() -> None:
    why = (("a", "it has no user a"), ("b", "it has no user a"))
    site = [box("a", 1), box("b", 1), box("c", 1)]
    jobs = [pending(1, without=why), pending(2, without=why), pending(3), pending(4, without=why[:1])]
    assert started(run(jobs, site)) == [(1, "c0"), (3, "a0"), (4, "b0")]


def cpu_slot() -> tuple[Device, ...]:
    return (Device("c", DeviceKind.CPU, 0, "CPU-c-0", "Xeon"),)


@pytest.mark.parametrize("gpu_memory", [None, GIB])
def test_of_equal_devices_one_is_taken_whose_node_has_the_data(gpu_memory: int | None) -> None:
    site = [box("a"), box("b"), box("c")]
    jobs = [pending(id, gpu_memory=gpu_memory, user=user) for id, user in enumerate("uvwx", 1)]
    near = {1: {"c"}, 2: {"b", "c"}, 3: set[str](), 4: {"elsewhere"}}
    found = dict(started(run(jobs, site, near=near)))
    if gpu_memory is None:
        assert found == {1: "c0", 2: "b0", 3: "a0", 4: "a1"}
    else:  # once a device is shared, it is the tightest: what is equally good is asked first
        assert found[1] == "c0"
        assert len(set(found.values())) == 1


def test_a_free_device_without_the_data_is_better_than_a_wait() -> None:
    site = [box("a"), box("b")]
    assert started(run([pending(1)], site, busy(site[1]), near={1: {"b"}})) == [(1, "a0")]


def test_a_device_that_is_kept_for_the_user_comes_before_one_that_has_the_data() -> None:
    site = [box("a"), box("b")]
    kept = [Reservation(1, "b1", later(-60), later(600), user="u")]
    assert started(run([pending(1, user="u")], site, reservations=kept, near={1: {"a"}})) == [(1, "b1")]


def test_a_job_that_names_a_node_gets_the_device_that_is_kept_for_its_user_there() -> None:
    kept = [Reservation(1, "b1", later(-60), later(600), user="u")]
    decision = run([pending(1, user="u", node="b")], [box("a"), box("b")], reservations=kept)
    assert started(decision) == [(1, "b1")]


def test_small_jobs_for_any_node_do_not_starve_a_large_one_that_names_one() -> None:
    site = [box("a", 1), box("b", 1)]
    shared = [
        Allocation(
            90,
            "b",
            "b0",
            user="z",
            started_at=later(-600),
            gpu_memory_bytes=30 * GIB,
            expected_end=later(900),
        ),
        Allocation(91, "a", "a0", user="z", started_at=later(-600)),
    ]
    jobs = [pending(1, 1, user="u", node="b"), pending(2, user="v", gpu_memory=20 * GIB)]
    decision = run(jobs, site, shared)
    assert started(decision) == []
    assert "GPU 0 of b is kept for job 1, which is ahead" in decision.waits[2].message


def test_reasons_name_the_nodes() -> None:
    site = [box("a"), box("b")]
    decision = run([pending(1)], site, busy(*site))
    assert why(decision) == (
        Reason.RESOURCES,
        "GPUs 0 and 1 of a are used by jobs 100 and 101; GPUs 0 and 1 of b are used by jobs 102 and 103",
    )
    decision = run([pending(1, node="b")], site, busy(*site), drained={"b1": "noisy fan"})
    assert why(decision)[1] == "GPUs 0 and 1 of b are used by jobs 102 and 103"
    decision = run([pending(1, node="b")], site, drained={"b0": "noisy fan", "b1": "noisy fan"})
    assert why(decision) == (
        Reason.DEVICE_UNAVAILABLE,
        "GPU 0 of b is drained: noisy fan; GPU 1 of b is drained: noisy fan",
    )


def test_the_one_node_of_a_site_is_not_named() -> None:
    assert why(run([pending(1)], [box("a", 1)], busy(box("a", 1))))[1] == "GPU 0 is used by job 100"


def test_a_job_hears_of_the_node_that_it_names_and_of_no_other() -> None:
    site = [
        box("a", status=NodeStatus.DRIVER_ERROR, message="NVML fails"),
        box("b", status=NodeStatus.DOWN, message="away since noon"),
        box("c"),
    ]
    assert why(run([pending(1, node="b")], site)) == (Reason.NODE_DOWN, "b: away since noon")
    found = why(run([pending(1, node=("b", "a"))], site))
    assert found == (Reason.DRIVER_ERROR, "a: NVML fails; b: away since noon")
    found = why(run([pending(1, node=("c", "b"))], site, busy(site[2])))
    assert found == (
        Reason.RESOURCES, "GPUs 0 and 1 of c are used by jobs 100 and 101; nothing starts on b at present"
    )  # fmt: skip


def test_what_is_away_at_present_is_told_where_no_other_gpu_has_the_name() -> None:
    site = [box("a", model=A100), box("b", status=NodeStatus.DOWN, message="away since noon")]
    assert why(run([pending(1, gpu_name="H100")], site)) == (Reason.NODE_DOWN, "b: away since noon")
    found = why(run([pending(1, gpu_name="H100", node="a")], site))
    assert found == (Reason.DEVICE_UNAVAILABLE, "there is no GPU called H100 of a at present")


def test_of_many_nodes_a_reason_tells_the_first() -> None:
    site = [box(f"n{number}", 8) for number in range(64)]
    message = why(run([pending(1)], site, busy(*site)))[1]
    assert message.startswith("GPUs 0, 1, 2, 3, 4, 5, 6 and 7 of n0 are used by jobs 100, 101, ")
    assert message.endswith("; 480 devices of 60 more nodes are used")
    assert len(message) < 600


def test_of_many_nodes_that_are_away_the_first_are_told() -> None:
    site = [box(f"n{number}", status=NodeStatus.DOWN, message="away") for number in range(64)]
    assert why(run([pending(1)], site))[1] == "n0: away; n1: away; n2: away; n3: away; and 60 nodes more"


def test_shares_count_over_all_nodes() -> None:
    """Who holds all of one node comes after who holds nothing, wherever something is free."""
    site = [box("a"), box("b")]
    held = busy(site[0], of="u")
    decision = run([pending(1, user="u"), pending(2, user="v"), pending(3, user="v")], site, held)
    assert started(decision) == [(2, "b0"), (3, "b1")]
