"""What the head and the agent of a node are told by the daemon."""

from __future__ import annotations

from dataclasses import dataclass

from gpujobs.protocol.codec import Message


@dataclass(frozen=True, slots=True)
class NodeSettings(Message):
    """`cpu_slots` None means one for each two cores; they are used only where there is no GPU."""

    node_name: str
    state_dir: str
    cpu_slots: int | None
    probe_deadline_seconds: float
    state_id: str
    """Of the state directory (`gpujobs/linux/stateid.py`)."""
