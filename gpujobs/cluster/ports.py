"""Which ports a box of a cluster uses: all fixed, from the one that `[cluster] listen` names. Imports no Ray."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

WORKERS = range(20, 120)
"""Offsets of the ports of Ray's workers: the agent, and what Ray starts for itself."""

NAMED = (
    "joining", "gcs", "raylet", "object_manager", "runtime_env", "dashboard_agent", "dashboard_agent_grpc",
    "metrics", "client",
)  # fmt: skip
"""In the order of their offsets."""


@dataclass(frozen=True, slots=True)
class Ports:
    """`base`: the port of `[cluster] listen`, the same on every box."""

    base: int

    def __getitem__(self, name: str) -> int:
        return self.base + NAMED.index(name)

    @property
    def workers(self) -> range:
        return range(self.base + WORKERS.start, self.base + WORKERS.stop)

    @property
    def words(self) -> str:
        """What a firewall is told."""
        named = f"{self.base}-{self.base + len(NAMED) - 1}"
        return f"{named} and {self.workers.start}-{self.workers.stop - 1}"

    @property
    def of_a_node(self) -> tuple[int, ...]:
        """What the others must reach on a box that joins."""
        return (self["raylet"], self["object_manager"], self.workers.start, self.workers.stop - 1)

    @property
    def of_the_head(self) -> tuple[int, ...]:
        """What a box that joins must reach on the head's, besides the port of joining."""
        return (self["gcs"], *self.of_a_node[:2])

    def options(self) -> Iterator[str]:
        """Of `ray start`, on the head and on a node alike."""
        for option, name in (
            ("node-manager-port", "raylet"),
            ("object-manager-port", "object_manager"),
            ("runtime-env-agent-port", "runtime_env"),
            ("dashboard-agent-listen-port", "dashboard_agent"),
            ("dashboard-agent-grpc-port", "dashboard_agent_grpc"),
            ("metrics-export-port", "metrics"),
        ):
            yield f"--{option}={self[name]}"
        yield f"--min-worker-port={self.workers.start}"
        yield f"--max-worker-port={self.workers.stop - 1}"
