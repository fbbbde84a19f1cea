"""What is to be done later, each thing under a name. Instants are `time.monotonic` seconds."""

from __future__ import annotations

import time
from collections.abc import Callable


class Timers:
    """Whoever waits for other things too asks how long it may (`seconds_left`), and then does what is due."""

    def __init__(self) -> None:
        self._due: dict[str, tuple[float, Callable[[], None]]] = {}
        self._last: dict[str, float] = {}

    def after(self, seconds: float, name: str, action: Callable[[], None]) -> None:
        """What waits under this name already stays as it is."""
        self._due.setdefault(name, (time.monotonic() + seconds, action))

    def throttled(self, name: str, seconds: float, action: Callable[[], None]) -> None:
        """Does it at the next look, or when `seconds` have passed since it was last done."""

        def act() -> None:
            self._last[name] = time.monotonic()
            action()

        self.after(self._last.get(name, 0.0) + seconds - time.monotonic(), name, act)

    def drop(self, name: str) -> None:
        self._due.pop(name, None)

    def clear(self) -> None:
        self._due.clear()

    def seconds_left(self) -> float | None:
        """Until the first is due; None where none waits."""
        first = min((at for at, _ in self._due.values()), default=None)
        return None if first is None else max(0.0, first - time.monotonic())

    def do_what_is_due(self) -> None:
        now = time.monotonic()
        for name in [name for name, (at, _) in self._due.items() if at <= now]:
            self._due.pop(name)[1]()
