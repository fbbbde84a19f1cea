"""What the head and the agent of a node are told by the daemon."""

from __future__ import annotations

from dataclasses import dataclass

from gpujobs.protocol.codec import Message, Number


@dataclass(frozen=True, slots=True)
class NodeSettings(Message):
    """`cpu_slots` None means one for each two cores; they are used only where there is no GPU."""

    node_name: str
    state_dir: str
    cpu_slots: int | None
    probe_deadline_seconds: float
    state_id: str
    """Of the state directory (`gpujobs/linux/stateid.py`)."""

    instance: str
    """The id of the daemon's state directory: whose attempts are started here. On the daemon's own machine the same."""

    @property
    def is_remote(self) -> bool:
        """Whether the daemon's files are on another machine."""
        return self.instance != self.state_id


@dataclass(frozen=True, slots=True)
class Listening(Message):
    """Where a cluster that can be joined is reached; `port` is the first of its ports."""

    address: str
    port: Number
    tls: bool


@dataclass(frozen=True, slots=True)
class HeadSettings(Message):
    """`listening` None: Ray is for this machine alone. `ray_address`: of one that is there already, instead."""

    node: NodeSettings
    listening: Listening | None
    ray_address: str | None
