"""The client's half of docs/protocol.md, part 1. Standard library only, and little of that."""

from gpujobs.client.api import Client, connect

__all__ = ["Client", "connect"]
