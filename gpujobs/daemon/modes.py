"""How a daemon was started, and how it ends."""

from __future__ import annotations

from enum import StrEnum


class Mode(StrEnum):
    SITE = "site"
    """Started as root: serves everybody, trainers run as the submitting user."""
    PERSONAL = "personal"
    """Serves the user that it runs as."""
    EMBEDDED = "embedded"
    """A personal one that `gpujobs run` started, and that ends when nobody needs it any more."""


class StopMode(StrEnum):
    NOW = "now"
    DRAIN = "drain"
    CANCEL = "cancel"
