"""What the cluster side is told by the daemon."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """`cpu_slots` None means one for each two cores; they are used only where there is no GPU."""

    node_name: str
    state_dir: str
    cpu_slots: int | None = None
    probe_deadline_seconds: float = 5.0
    state_id: str = ""
    """Of the state directory (`gpujobs/linux/stateid.py`)."""
