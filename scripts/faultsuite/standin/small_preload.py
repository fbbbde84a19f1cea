"""In the place of the imports of Keras."""

from __future__ import annotations


def load() -> None:
    import numpy  # noqa: F401
    import small_child  # noqa: F401


def warm() -> None:
    """Nothing is drawn here."""
