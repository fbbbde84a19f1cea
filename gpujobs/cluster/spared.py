"""What Ray starts besides what gpujobs needs, and how it is left out, be Ray started by `ray.init` or by `ray start`.

An API server, a monitor of an autoscaler, one of logs, a server of Ray clients, and two agents beside each raylet (of
the dashboard, and of runtime environments) are Python processes each. They cost more than the rest of Ray's start,
just while TensorFlow is imported on the same cores, and the raylet takes no worker before its agents listen. Ray has no
public switch for them, so its start is told so through what is private to it; where a later Ray has other names there,
it starts as it always does.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

RAYLETS = "2.60."
"""The versions of Ray whose raylet is known to run without its agents: that is in no signature."""

AGENTS = ("--dashboard_agent_command", "--runtime_env_agent_command")
AGENTS_PORTS = (
    "--metrics-agent-port", "--metrics_export_port", "--dashboard_agent_listen_port", "--runtime_env_agent_port",
)  # fmt: skip
NO_COMMAND = " "
"""No word: there is no agent. The empty text would be an error."""

NO_PORT = "-1"
"""As an agent writes it down that does not listen; else the raylet waits for the number."""


@contextlib.contextmanager
def spared() -> Iterator[None]:
    """What is started within goes without them where this Ray lets us."""
    with contextlib.ExitStack() as stack:
        for change in (_no_monitors, _no_servers, _no_agents):
            with contextlib.suppress(ImportError, AttributeError, TypeError):
                stack.enter_context(change())
        yield


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
def _no_servers() -> Iterator[None]:
    from ray._private.node import Node

    with contextlib.ExitStack() as stack:
        for name in ("start_api_server", "start_ray_client_server"):
            stack.enter_context(contextlib.contextmanager(_replaced)(Node, name, lambda self, **_: None))
        yield


@contextlib.contextmanager
def _no_agents() -> Iterator[None]:
    import ray
    from ray._private import services

    if not ray.__version__.startswith(RAYLETS):
        raise AttributeError("this Ray's raylet may want its agents")
    start: Callable[..., Any] = services.start_ray_process

    def without(command: Sequence[str], *args: Any, **keys: Any) -> Any:
        return start(alone(command), *args, **keys)

    yield from _replaced(services, "start_ray_process", without)


def alone(command: Sequence[str]) -> Sequence[str]:
    """A raylet's command line, without agents; any other as it is."""
    given = dict(word.partition("=")[::2] for word in command)
    if not given.keys() >= {*AGENTS}:
        return command
    instead = {**dict.fromkeys(AGENTS, NO_COMMAND), **dict.fromkeys(AGENTS_PORTS, NO_PORT)}
    others = (word for word in command if word.partition("=")[0] not in instead)
    return (*others, *(f"{option}={value}" for option, value in instead.items()))


def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    original = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, original)
