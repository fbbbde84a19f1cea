"""What a box that joins and the head's say to each other before Ray is started there, and after (docs/cluster.md).

Each line is sealed with the cluster's secret (`gpujobs/cluster/sealed.py`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gpujobs.protocol.codec import Count, Message, Number, Tagged, Vocabulary

FORMAT = 2
"""Of all that crosses between boxes: the lines of joining, and what agents are told and answer. A later one may add
fields that have a default, which is what an earlier one meant by saying nothing, and instructions."""

OLDEST = 2
"""That is understood here, so that boxes can be updated one by one: the head's first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenTls(Message):
    """PEM: the cluster's authority, and a certificate of it with its key, which lets a box ask for its own."""

    authority: str
    certificate: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFile(Message):
    """What `gpujobs node token` writes, mode 0600: all that a box needs to join."""

    format: Number
    address: str
    """ADDRESS:PORT of the head."""
    secret: str
    """Ray's token, and what the lines of joining are sealed with."""
    instance: str
    """The id of the head's state directory: whose cluster it is."""
    tls: TokenTls | None = None
    """None where `[cluster] tls` is off."""


@dataclass(frozen=True, slots=True)
class Versions(Message):
    gpujobs: str
    ray: str
    python: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello(Tagged):
    """A box that wants to join. `node_id`: the id of its own state directory, by which it is known again."""

    tag: ClassVar[str] = "hello"
    format: Number
    name: str
    node_id: str
    instance: str
    uid: Count
    versions: Versions
    clock: float
    """Seconds since 1970."""
    address: str
    """By which the others are to reach it; empty for the one that the head sees."""
    ports: tuple[Count, ...]
    """On which it answers for the moment, so that the head can try them."""
    request: str = ""
    """For a certificate of its own (PEM), where it is to start Ray with TLS."""
    trial: bool = False
    """It does not join: it only wants to know what would be in the way."""
    takes_renewal: bool = False
    """It understands `Renewed`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome(Tagged):
    """Nothing is in the way on the head's side. `address`: by which it sees the node; `session`: of its Ray, which is
    another one after each start of it."""

    tag: ClassVar[str] = "welcome"
    name: str
    session: str
    address: str
    certificate: str = ""
    """What was requested (PEM): for that address."""


@dataclass(frozen=True, slots=True)
class Refused(Tagged):
    """Why it may not join, in words. `again`: whether it is worth another try later."""

    tag: ClassVar[str] = "refused"
    message: str
    again: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready(Tagged):
    """Ray runs on the node, under a label with this incarnation: the agent may be placed there."""

    tag: ClassVar[str] = "ready"
    incarnation: str
    state_dir: str
    cpu_slots: Count | None
    gpus: Count


@dataclass(frozen=True, slots=True)
class Joined(Tagged):
    """The agent runs."""

    tag: ClassVar[str] = "joined"


@dataclass(frozen=True, slots=True)
class Renewed(Tagged):
    """The cluster is about to have another authority and another secret. `certificate`: of that authority, for the
    key of the box's last request."""

    tag: ClassVar[str] = "renewed"
    secret: str
    authority: str
    certificate: str


@dataclass(frozen=True, slots=True)
class Kept(Tagged):
    """What was renewed is on the box's disk."""

    tag: ClassVar[str] = "kept"


@dataclass(frozen=True, slots=True)
class Beat(Tagged):
    """Said by both now and then, so that a line that is cut is noticed."""

    tag: ClassVar[str] = "beat"


JOINING: Vocabulary[Tagged] = Vocabulary("say", Hello, Welcome, Refused, Ready, Joined, Renewed, Kept, Beat)
