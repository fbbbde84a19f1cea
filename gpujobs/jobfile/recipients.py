"""Who is told of a job: what `notify:` and `gpujobs notify` may name, and what a name means."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

MAX_RECIPIENTS = 10
MAX_WORDS = 100
MAX_LENGTH = 2000


class Occasion(StrEnum):
    """What people may want to be told of; the words of `on:`."""

    END = "end"
    """A final state, whichever."""
    FAILURE = "failure"
    """A final state that is not COMPLETED."""
    START = "start"
    """A start after a long wait; the site says how long that is."""
    STRANGER = "stranger"
    """Somebody else's process is on the device that the job runs on."""
    TIME_LIMIT = "time_limit"
    """Little is left of the time limit."""


OCCASIONS = tuple(Occasion)


class Way(StrEnum):
    MAIL = "mail"
    URL = "url"
    COMMAND = "command"
    APPRISE = "apprise"
    """Any other service that the package of this name knows, by its URL."""


OWN_MAIL = "mail"
"""In `to:`, the mailbox of the job's own user."""

DEFAULT_ON = (Occasion.END,)

_ADDRESS = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~][A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{0,63}"
    r"@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?"
)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]{0,30}://.+")


@dataclass(frozen=True, slots=True)
class Recipient:
    """`to`: the address or the URL, or the words of the command."""

    way: Way
    to: tuple[str, ...]

    @property
    def shown(self) -> str:
        """For histories, which others may read too: of a URL no more than its host, for the rest may be a secret."""
        match self.way:
            case Way.MAIL:
                return "your mailbox" if self.to == (OWN_MAIL,) else self.to[0]
            case Way.URL:
                parts = urlsplit(self.to[0])
                return f"{parts.scheme}://{parts.netloc}"
            case Way.APPRISE:
                return f"{self.to[0].partition('://')[0]}:// (by apprise)"
        return f"the command {self.to[0]}"


@dataclass(frozen=True, slots=True)
class Wish:
    """Of what one wants to be told, and how."""

    on: frozenset[Occasion]
    recipients: tuple[Recipient, ...]

    @property
    def sentence(self) -> str:
        if not self.on:
            return "nobody is told anything"
        whom = "; ".join(one.shown for one in self.recipients)
        return f"{', '.join(one for one in OCCASIONS if one in self.on)}: {whom}"


def recipient(text: str) -> Recipient:
    """An entry of `to:`. Raises ValueError that says what was expected."""
    if not text.isprintable() or " " in text or len(text) > MAX_LENGTH:
        raise ValueError("expected mail, an address such as ada@example.org, or a URL, without blanks")
    if text == OWN_MAIL:
        return Recipient(Way.MAIL, (OWN_MAIL,))
    if text.startswith(("http://", "https://")):
        _require_url(text)
        return Recipient(Way.URL, (text,))
    if _SCHEME.fullmatch(text):
        return Recipient(Way.APPRISE, (text,))
    if is_address(text):
        return Recipient(Way.MAIL, (text,))
    raise ValueError(
        "expected mail, an address such as ada@example.org, or a URL such as https://example.org/hook"
    )


def is_address(text: str) -> bool:
    """Of mail, as far as it can be told from its letters; nothing that begins with a dash."""
    return _ADDRESS.fullmatch(text) is not None and ".." not in text


def _require_url(text: str) -> None:
    try:
        parts = urlsplit(text)
        is_whole = bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_whole = False
    if not is_whole or not text.isascii():
        raise ValueError("expected a URL with a host, such as https://example.org/hook, in ASCII")
    if parts.username is not None or parts.fragment:
        raise ValueError("expected a URL without a user's name and without #")


def wish(own: Mapping[str, Any] | None, setting: Mapping[str, Any] | None) -> Wish | None:
    """What counts for a job whose file says `own`, of a user who has said `setting`: each key that the file leaves
    out is the setting's. None where neither says anything."""
    if own is None and setting is None:
        return None
    named, default = own or {}, setting or {}
    on = next((one["on"] for one in (named, default) if one.get("on") is not None), DEFAULT_ON)
    recipients = recipients_of(named) or recipients_of(default) or (recipient(OWN_MAIL),)
    return Wish(frozenset(map(Occasion, on)), recipients)


def recipients_of(named: Mapping[str, Any]) -> tuple[Recipient, ...]:
    """Each once, in their order."""
    found = [recipient(text) for text in named.get("to") or ()]
    if named.get("command"):
        found.append(Recipient(Way.COMMAND, tuple(named["command"])))
    return tuple(dict.fromkeys(found))


def given(notify: Mapping[str, Any]) -> dict[str, Any]:
    """Without the keys that say nothing."""
    return {key: value for key, value in notify.items() if value is not None}
