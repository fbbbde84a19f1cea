"""Whose word counts: each node has one agent at a time, and a newer incarnation fences off the older for good.

No I/O. The head asks before it believes an answer or an event, and before it sends anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

A = TypeVar("A")

OWN = "own"
"""The incarnation of the agent on the head's own machine: it ends with the head."""


@dataclass(frozen=True, slots=True)
class Member(Generic[A]):
    """`node_id`: of the node's own state directory. `start`: of its Ray; `incarnation`: of this agent, of which there
    may be some there, one after the other."""

    name: str
    node_id: str
    start: str
    incarnation: str
    agent: A


class Members(Generic[A]):
    def __init__(self) -> None:
        self._members: dict[str, Member[A]] = {}
        self._starts: dict[str, str] = {}
        """The start of Ray that was admitted last on each node, be its agent lost since."""

        self._fenced: set[str] = set()

    def is_fenced(self, incarnation: str) -> bool:
        """Of an agent, or of a start of Ray: whether a newer one has come after it. It never comes back."""
        return incarnation in self._fenced

    def has_had(self, name: str, start: str) -> bool:
        """Whether the last agent of this node was on that start of its Ray."""
        return self._starts.get(name) == start

    def admit(self, member: Member[A]) -> Member[A] | None:
        """Returns the one that it takes the place of, which is fenced off. Raises ValueError for one that was fenced
        itself: whoever asks late must not take the place of who came after it."""
        if self.is_fenced(member.incarnation) or self.is_fenced(member.start):
            raise ValueError(f"{member.incarnation} of {member.name} was fenced")
        before = self._members.get(member.name)
        self._members[member.name] = member
        last = self._starts.get(member.name)
        if last is not None and last != member.start:
            self._fenced.add(last)
        self._starts[member.name] = member.start
        if before is not None and before.incarnation != member.incarnation:
            self._fenced.add(before.incarnation)
            return before
        return None

    def lose(self, member: Member[A]) -> bool:
        """Whether it still counted: what became of one that was fenced is nobody's news."""
        if not self.speaks(member):
            return False
        del self._members[member.name]
        self._fenced.add(member.incarnation)
        return True

    def speaks(self, member: Member[A]) -> bool:
        known = self._members.get(member.name)
        return known is not None and known.incarnation == member.incarnation

    def get(self, name: str) -> Member[A] | None:
        return self._members.get(name)
