"""The boxes that belong to a cluster, whether or not they are there now: `nodes.json` of the daemon's state directory.

The head writes a name when its box joins; the daemon strikes it out when somebody removes it. Read each time: the
file is small, and joining is rare. A name stands for one box, known by the id of its state directory: another one of
that name would be asked for attempts that run elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gpujobs.errors import MachineError
from gpujobs.linux import durable
from gpujobs.linux.durable import DamagedError
from gpujobs.model import utc_now
from gpujobs.protocol import codec
from gpujobs.protocol.codec import Instant, Message, ShapeError, instant


@dataclass(frozen=True, slots=True)
class KnownNode(Message):
    name: str
    id: str
    joined_at: Instant


@dataclass(frozen=True, slots=True)
class _Roster(Message):
    nodes: tuple[KnownNode, ...]


def known(path: Path) -> Mapping[str, KnownNode]:
    """By name. Raises MachineError where the file is damaged: attempts on a box that is forgotten would run twice."""
    try:
        value = durable.read_json(path)
        roster = _Roster(()) if value is None else codec.parse(_Roster, value)
    except (DamagedError, ShapeError) as error:
        raise MachineError(
            f"{path} is damaged ({error}), so it is not known which boxes belong to this cluster; put a copy "
            "of it back, "
            "or remove it once nothing runs on any other box"
        ) from error
    return {node.name: node for node in roster.nodes}


def obstacle(path: Path, name: str, node_id: str) -> str | None:
    """Why a box may not join under this name, in words."""
    found = known(path).get(name)
    if found is None or found.id == node_id:
        return None
    return (
        f"the name {name} is that of another box, which joined at {found.joined_at}; `--name` gives this one "
        "its own, or "
        f"`gpujobs node remove {name}` on the head's box strikes the other out"
    )


def add(path: Path, name: str, node_id: str) -> None:
    """Raises MachineError where the name is that of another box, which came first."""
    with _alone(path):
        if taken := obstacle(path, name, node_id):
            raise MachineError(taken)
        nodes = known(path)
        if name not in nodes:
            _write(path, {**nodes, name: KnownNode(name, node_id, instant(utc_now()))})


def remove(path: Path, name: str) -> None:
    with _alone(path):
        _write(path, {key: node for key, node in known(path).items() if key != name})


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """From reading to writing: else one of two changes at the same moment would be lost."""
    lock = durable.lock(path.with_name(f"{path.name}.lock"))
    try:
        yield
    finally:
        os.close(lock)


def _write(path: Path, nodes: Mapping[str, KnownNode]) -> None:
    durable.write_json(path, codec.write(_Roster(tuple(nodes.values()))))
