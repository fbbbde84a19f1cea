"""Tells people news, with their own rights: what runs here has taken the identity of whoever is told."""

from __future__ import annotations

from importlib import import_module
from typing import Protocol, cast

from gpujobs.printing import one_line
from gpujobs.protocol.news import Delivery, Outcome

MAX_SAID = 300

ROOMS = {"mail": "mail", "url": "post", "command": "command", "apprise": "others"}


class Room(Protocol):
    def load(self, order: Delivery) -> None:
        """Imports what is needed later."""

    def send(self, order: Delivery) -> Outcome: ...


def room(order: Delivery) -> Room:
    return cast(Room, import_module(f"gpujobs.sender.{ROOMS[order.way]}"))


def load(order: Delivery) -> None:
    room(order).load(order)


def send(order: Delivery) -> Outcome:
    return room(order).send(order)


def failed(said: object, *, again: bool = True) -> Outcome:
    return Outcome(False, again, line_of(said))


def sent(said: object = "") -> Outcome:
    return Outcome(True, False, line_of(said))


def words_of(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error or type(error).__name__)


def line_of(said: object) -> str:
    """One printable line."""
    if isinstance(said, bytes):
        said = said.decode(errors="replace")
    return one_line(str(said))[:MAX_SAID]
