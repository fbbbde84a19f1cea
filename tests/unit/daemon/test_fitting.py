"""A model that no device can hold is refused by `check`, with what it takes and what there is."""

from __future__ import annotations

from typing import Any

import pytest

from gpujobs.daemon.jobs import fitting
from gpujobs.daemon.jobs.submissions import FileBody, Prepared
from gpujobs.errors import JobFileError
from gpujobs.jobfile import load
from gpujobs.model import Device, DeviceKind, Node, NodeStatus

GIB = 1 << 30
TEXT = """\
data: {train: t.csv, target: a, window: {length: 3}}
model:
  layers: [LSTM: {units: 100000}, Dense: {units: 1}]
training: {loss: mse}
"""
LSTM_100000 = 4 * 100_000 * (1 + 100_000 + 1)
"""Parameters, of one feature: four gates, each with a kernel, a recurrent kernel and a bias."""


def prepared(text: str = TEXT) -> Prepared:
    return Prepared(FileBody(path="j.yaml", text=text, data={}), load("j.yaml", text), ())


def report(parameters: int, more_bytes: int = 0) -> dict[str, Any]:
    """Of Adam, as docs/check.md has it."""
    sizes = {"weights": 4, "gradients": 4, "optimizer": 8, "activations": 0}
    memory = [{"part": part, "bytes": size * parameters, "of": ""} for part, size in sizes.items()]
    memory[-1]["bytes"] = more_bytes
    whole = 16 * parameters + more_bytes
    return {"parameters": parameters, "memory": memory, "memory_estimate_bytes": whole, "notices": ["said"]}


def gpus(name: str, *gib: int | None) -> Node:
    devices = [
        Device(name, DeviceKind.GPU, n, f"GPU-{name}{n}", f"H{size}", None if size is None else size * GIB)
        for n, size in enumerate(gib)
    ]
    return Node(name, NodeStatus.OK, "", tuple(devices))


def slots(name: str) -> Node:
    return Node(name, NodeStatus.OK, "", (Device(name, DeviceKind.CPU, 0, f"CPU-{name}-0", "Xeon"),))


def room(*nodes: Node, text: str = TEXT, own: str = "a") -> fitting.Room | None:
    return fitting.room(prepared(text), nodes, own, 24 * GIB)


def test_the_largest_device_that_the_job_may_have_counts() -> None:
    assert room(gpus("a", 24, 80), gpus("b", 40)) == fitting.Room(
        80 * GIB, "the largest GPU for it (H80 of a)"
    )
    on_b = TEXT + "resources: {node: b}\n"
    assert room(gpus("a", 80), gpus("b", 40), text=on_b) == fitting.Room(
        40 * GIB, "the largest GPU for it (H40 of b)"
    )
    assert room(slots("a")) == fitting.Room(24 * GIB, "the main memory of a")


@pytest.mark.parametrize(
    "nodes",
    [
        (gpus("a", 80, None),),
        (gpus("a", 80), slots("b")),
        (gpus("a", 80), Node("b", NodeStatus.STARTING, "", ())),
    ],
    ids=["a GPU that does not say", "main memory of another box", "a box that starts"],
)
def test_where_some_memory_is_not_known_nothing_is_refused(nodes: tuple[Node, ...]) -> None:
    assert room(*nodes) is None
    assert fitting.require(prepared(), report(LSTM_100000), None) == report(LSTM_100000)


def test_a_model_of_which_the_weights_alone_do_not_fit_is_refused_with_the_figures_at_its_line() -> None:
    with pytest.raises(JobFileError) as caught:
        fitting.require(prepared(), report(LSTM_100000), room(gpus("a", 80)))
    assert str(caught.value) == (
        "j.yaml:2: the model does not fit: its 40,000,800,000 parameters take 149.0 GiB, with gradients and optimizer "
        "596.1 GiB, and the largest GPU for it (H80 of a) has 80.0 GiB; expected a smaller one, with fewer units or "
        "layers"
    )


def test_what_is_only_estimated_not_to_fit_is_a_notice() -> None:
    small = GIB // 16
    said = fitting.require(prepared(), report(small, 30 * GIB), room(slots("a")))["notices"]
    assert said == [
        "said",
        "the training may not fit: it needs about 31.0 GiB, and the main memory of a has 24.0 GiB; a smaller "
        "batch_size or window takes less",
    ]
    assert fitting.require(prepared(), report(small), room(slots("a"))) == report(small)
