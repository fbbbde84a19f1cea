"""What a sender is told, and what it answers (docs/protocol.md, section 3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from gpujobs.protocol.codec import Message
from gpujobs.protocol.spec import Identity

Tls = Literal["none", "starttls", "tls"]


@dataclass(frozen=True, slots=True)
class MailServer(Message):
    host: str
    port: int
    tls: Tls


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery(Message):
    """News for one recipient. `identity` is with whose rights it is told."""

    identity: Identity
    user: str
    way: Literal["mail", "url", "command", "apprise"]
    to: tuple[str, ...]
    """An address or a URL; the words of a command."""
    message_id: str
    """The same at each try, so that whoever gets it twice can tell."""
    subject: str
    text: str
    news: Mapping[str, Any]
    """As docs/news.md has it."""
    environment: Mapping[str, str]
    """Of a command, on top of its user's own."""
    sender: str
    server: MailServer | None
    """None: the machine's own `sendmail`."""
    timeout_seconds: float


@dataclass(frozen=True, slots=True)
class Outcome(Message):
    """`again`: another try may end otherwise. `said`: what the other side has answered, in a line. A process with the
    user's rights has written it: people are shown it, and nothing follows from it but another try."""

    sent: bool
    again: bool
    said: str
