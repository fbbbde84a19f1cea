"""Starting Ray without the processes that gpujobs has no use for.

`ray.init(include_dashboard=False)` still starts an API server, an autoscaler monitor and a log
monitor, which cost more than half of its time (measured: 4.4 s with them, 1.9 s without), just while
TensorFlow is imported on the same cores. Ray has no public switch for them, so its start is told so
through what is private to it; where a later Ray has other names there, it starts as it always does.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Iterator
from typing import Any

import ray


def init(**options: Any) -> None:
    """`ray.init`, with the processes left out where this Ray lets us."""
    with contextlib.ExitStack() as stack:
        for change in (_no_monitors, _no_api_server):
            with contextlib.suppress(ImportError, AttributeError, TypeError):
                stack.enter_context(change())
        ray.init(**options)


@contextlib.contextmanager
def _no_monitors() -> Iterator[None]:
    from ray._private.parameter import RayParams

    original = RayParams.__init__
    if not {"no_monitor", "include_log_monitor"} <= set(inspect.signature(original).parameters):
        raise AttributeError("this Ray has other parameters")
    yield from _replaced(
        RayParams,
        "__init__",
        functools.wraps(original)(
            lambda self, *args, **keys: original(
                self, *args, **{**keys, "no_monitor": True, "include_log_monitor": False}
            )
        ),
    )


@contextlib.contextmanager
def _no_api_server() -> Iterator[None]:
    from ray._private.node import Node

    yield from _replaced(Node, "start_api_server", lambda self, **_: None)


def _replaced(owner: type, name: str, value: Any) -> Iterator[None]:
    original = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, original)
