"""Words into a process's own log."""

from __future__ import annotations

import contextlib
import sys


def say(words: str) -> None:
    """To stderr, which is a file that may be on the full disk that is spoken of: words are worth less than what
    follows them."""
    with contextlib.suppress(OSError, ValueError):
        print(words, file=sys.stderr, flush=True)  # noqa: T201
