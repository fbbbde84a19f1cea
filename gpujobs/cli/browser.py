"""A link, opened where there is a browser."""

from __future__ import annotations

import os


def open_where_there_is_one(url: str) -> None:
    if _has_browser():
        import webbrowser

        webbrowser.open(url)


def _has_browser() -> bool:
    """Where there is a screen, and it is that of this machine."""
    has_screen = any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    return has_screen and not os.environ.get("SSH_CONNECTION")
