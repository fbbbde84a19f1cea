"""A box that answers slowly, or not at all, as it is taken in."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gpujobs.daemon.devices import nodes as module
from gpujobs.daemon.devices.nodes import Nodes
from gpujobs.errors import MachineError
from gpujobs.model import Device, DeviceKind, Node, NodeStatus
from gpujobs.protocol.instructions import Probed

DEVICE = Device("box2", DeviceKind.CPU, 0, "CPU-box2-0", "CPU")


class SlowLink:
    """Of the one that reaches boxes: what a box does late."""

    def __init__(self, *errors: Exception) -> None:
        self._errors = list(errors)

    async def call(self, node: str, _: object) -> Probed:
        await asyncio.sleep(0.2)
        if self._errors:
            raise self._errors.pop(0)
        return Probed(Node(node, NodeStatus.OK, "", (DEVICE,)))


def nodes(link: Any, monkeypatch: pytest.MonkeyPatch) -> Nodes:
    monkeypatch.setattr(module, "REMOTE_SECONDS", 0.01)
    found = Nodes(link, "box1", others=["box2"])
    found.report("box2", NodeStatus.DOWN, "away")
    return found


def test_a_box_that_answers_slowly_is_taken_in(monkeypatch: pytest.MonkeyPatch) -> None:
    found = nodes(SlowLink(), monkeypatch)
    assert asyncio.run(found.admit("box2")).devices == (DEVICE,)
    assert [(node.name, node.status) for node in found.known][1:] == [("box2", NodeStatus.OK)]


def test_a_box_that_does_not_answer_stays_away_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """It must not be shown as one in order that has no devices."""
    found = nodes(SlowLink(MachineError("its agent is gone")), monkeypatch)
    with pytest.raises(MachineError, match="its agent is gone"):
        asyncio.run(found.admit("box2"))
    assert [(node.status, node.message) for node in found.known][1:] == [(NodeStatus.DOWN, "away")]


def test_what_is_said_of_a_box_while_it_is_asked_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    found = nodes(SlowLink(), monkeypatch)

    async def scenario() -> None:
        admitting = asyncio.create_task(found.admit("box2"))
        await asyncio.sleep(0.05)
        found.report("box2", NodeStatus.DOWN, "away again")
        await admitting

    asyncio.run(scenario())
    assert [node.message for node in found.known][1:] == ["away again"]
