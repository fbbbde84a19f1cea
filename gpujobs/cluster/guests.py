"""Agents on the nodes of a Ray that was there before (`serve --ray-address`): nobody runs `gpujobs node join` beside
them, so each makes the state of its box and keeps the launchers there itself. All run as the user of that Ray."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from gpujobs import __version__
from gpujobs.cluster.actor import PLACING_SECONDS, AgentActor, end_agent
from gpujobs.cluster.launchers import Launchers
from gpujobs.config.settings import personal_state
from gpujobs.errors import GpujobsError, MachineError
from gpujobs.linux import durable, statelock
from gpujobs.linux.saying import say
from gpujobs.linux.stateid import keep, state_id
from gpujobs.node import keepers
from gpujobs.node.wiped import State
from gpujobs.paths import StatePaths
from gpujobs.protocol import codec
from gpujobs.protocol.joining import FORMAT, OLDEST
from gpujobs.protocol.settings import NodeSettings

LOOK_SECONDS = 5.0
"""Ray tells nobody when a node comes or goes."""

LONGEST_PAUSE_SECONDS = 300.0
"""Until a node that cannot get an agent is tried again: from LOOK_SECONDS on, each time twice as long."""

TakeIn = Callable[[str, str, str, Any], Awaitable[asyncio.Event]]
"""A name, the id of its state, of its Ray node, and the agent: admitted. Returns what is set when it counts no more."""

Lacking = Callable[[str, str], Awaitable[None]]
"""A name, and why there is no agent."""


class GuestActor(AgentActor):
    async def open(self) -> Mapping[str, Any]:
        """Who it is. Raises what keeps it from being an agent, which Ray tells the head of."""
        paths = StatePaths(_place(self._settings))
        for path in (
            paths.root,
            paths.run,
            paths.ray,
            paths.spool,
            paths.spool / "data",
            paths.spool / "jobs",
        ):
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
        durable.make_way(paths.lock)
        self._lock = statelock.take(paths.lock)
        self._launchers = Launchers(paths)
        self._socket = keepers.listen(paths.keeper_socket)
        asyncio.get_running_loop().add_reader(self._socket, self._launchers.hear, self._socket)
        identity = state_id(paths.identity)
        self._watching = asyncio.create_task(_end_when_gone(paths, identity))
        self._settings = replace(self._settings, state_dir=str(paths.root), state_id=identity)
        await super().open()
        return {"node_id": identity, "format": FORMAT, "version": __version__}


async def _end_when_gone(paths: StatePaths, identity: str) -> None:
    """An agent whose state was removed ends, with what runs there: another is placed."""
    state = State(paths)
    gone = await state.gone()
    while True:
        try:
            count = await asyncio.to_thread(state.end_all)
        except MachineError as error:  # another agent is not placed beside what runs still
            say(f"{gone}; {error}; another try in {LOOK_SECONDS:g} s")
            await asyncio.sleep(LOOK_SECONDS)
        else:
            break
    say(f"{gone}; {count} processes of trainings are ended, and this agent ends")
    paths.root.mkdir(parents=True, exist_ok=True, mode=0o700)
    keep(paths.identity, identity)
    os._exit(1)


def _place(settings: NodeSettings) -> Path:
    """For this daemon's jobs, on this node, beside what a personal daemon has: a home may be shared by all of them."""
    return personal_state().with_name("gpujobs-nodes") / settings.instance[:16] / settings.node_name


def own_gpus(gpus: int) -> int:
    """Those of this box that its Ray knows of: it may have been started with fewer."""
    own = ray.get_runtime_context().get_node_id()
    known = next((node for node in ray.nodes() if node["NodeID"] == own), None)
    return gpus if known is None else min(gpus, int(known["Resources"].get("GPU", 0)))


async def keep_guests(settings: NodeSettings, take_in: TakeIn, lacking: Lacking) -> None:
    """Until it is cancelled: an agent on each node of the cluster that lives. `settings`: of the daemon's own box."""
    own = ray.get_runtime_context().get_node_id()
    followed: dict[str, asyncio.Task[None]] = {}
    failures: Counter[str] = Counter()
    unheard = 0
    try:
        while True:
            nodes = await _nodes()
            unheard = 0 if nodes else unheard + 1
            for node in nodes:
                task = followed.get(node["NodeID"])
                if node["Alive"] and node["NodeID"] != own and (task is None or task.done()):
                    work = _follow(node, settings, take_in, lacking, failures)
                    followed[node["NodeID"]] = asyncio.create_task(work)
            await asyncio.sleep(_pause(max(1, unheard)))
    finally:
        for task in followed.values():
            task.cancel()


async def _nodes() -> Sequence[Mapping[str, Any]]:
    """None of them where Ray does not say: it is asked again, ever less often."""
    try:
        found: Sequence[Mapping[str, Any]] = await asyncio.to_thread(ray.nodes)
    except Exception as error:  # noqa: BLE001 - whatever Ray raises
        say(f"the nodes of Ray were looked at in vain: {error!r}")
        return ()
    return found


async def _follow(
    node: Mapping[str, Any],
    settings: NodeSettings,
    take_in: TakeIn,
    lacking: Lacking,
    failures: Counter[str],
) -> None:
    """From one agent's start there to its end; where there is none, to the end of a pause. `failures`: one after the
    other, by the ids of Ray's nodes."""
    name = str(node["NodeManagerHostname"])
    try:
        agent, said = await _started(node, replace(settings, node_name=name, state_dir="", state_id=""))
        try:
            ended = await take_in(name, said["node_id"], node["NodeID"], agent)
        except Exception:
            end_agent(agent)
            raise
        del failures[node["NodeID"]]
        await ended.wait()
    except Exception as error:  # noqa: BLE001 - whatever Ray raises
        why = error.message if isinstance(error, GpujobsError) else _words(name, error)
        failures[node["NodeID"]] += 1
        pause = _pause(failures[node["NodeID"]])
        await lacking(name, f"{why}; another try in {pause:.0f} s")
        await asyncio.sleep(pause)


def _pause(failures: int) -> float:
    return min(LOOK_SECONDS * 2.0 ** min(failures - 1, 16), LONGEST_PAUSE_SECONDS)


async def _started(node: Mapping[str, Any], settings: NodeSettings) -> tuple[Any, Mapping[str, Any]]:
    where = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    gpus = int(node["Resources"].get("GPU", 0))
    options = {"num_cpus": 0, "num_gpus": gpus, "max_concurrency": 1000, "max_restarts": 0}
    agent = ray.remote(GuestActor).options(scheduling_strategy=where, **options).remote(codec.write(settings))
    try:
        async with asyncio.timeout(PLACING_SECONDS):
            said = await agent.open.remote()
    except TimeoutError:
        end_agent(agent)
        raise MachineError(
            f"Ray has started no agent there within {PLACING_SECONDS:g} s: it is to hold all {gpus} GPUs of its node, "
            "of which another program on this cluster may have some"
        ) from None
    except BaseException:
        end_agent(agent)
        raise
    if not OLDEST <= said["format"] <= FORMAT:
        end_agent(agent)
        raise MachineError(f"gpujobs {said['version']} there does not work together with {__version__} here")
    return agent, said


def _words(name: str, error: Exception) -> str:
    text = str(error)
    if "No module named 'gpujobs" in text:
        return f"gpujobs is not installed where Ray runs on {name}; install gpujobs {__version__} there"
    last = next((line.strip() for line in reversed(text.splitlines()) if line.strip()), repr(error))
    return f"no agent can be placed on {name}: {last[:300]}"
