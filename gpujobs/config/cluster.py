"""The tables of gpujobs.toml about other boxes: whether they can join, and what holds on all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from gpujobs.config.fields import Absolute, PositiveSize, Seconds, Table, text_of
from gpujobs.config.settings import cluster_address


class ClusterTable(Table):
    """Whether other boxes can join, and what holds there."""

    listen: Annotated[str | None, text_of(cluster_address)] = None
    """ADDRESS:PORT of this box for the others, the port the first of a fixed range; None: this box is alone, and Ray
    is on loopback."""

    tls: bool | None = None
    """Whether what crosses the network is encrypted, and whoever has no certificate of the cluster kept out; None:
    where the address is beyond loopback."""

    lease: Annotated[Seconds, Field(ge=30)] = 600
    """How long a box that cannot reach the daemon trains on. Only after it does the daemon start a job elsewhere."""


class NodesTable(Table):
    """What holds on all boxes of a cluster alike."""

    shared: list[Absolute] = []
    """Directories that are the same files under the same path on every box: nothing below them is copied."""

    cache: PositiveSize = 100 << 30
    """Data of one user that is kept on a box, besides what attempts there read: the longest unread makes way."""

    checkpoints: Annotated[Seconds, Field(ge=60)] = 600
    """How often the checkpoint of a training on another box comes home, in case that box is lost."""

    def has(self, path: str) -> bool:
        """Whether every box sees it."""
        return any(Path(path).is_relative_to(one) for one in self.shared)
