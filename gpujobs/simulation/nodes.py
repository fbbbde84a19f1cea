"""Reads the nodes of a replay: YAML, described in docs/simulate.md."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gpujobs import units
from gpujobs.errors import JobFileError, Problem
from gpujobs.jobfile.reader import Document, ReadError, describe, dotted, read
from gpujobs.jobfile.reader import Path as Place
from gpujobs.model import Device, DeviceKind, Node, NodeStatus

MAX_NODES, MAX_DEVICES, MAX_ALL = 1000, 1000, 10_000
"""Nodes of a site, devices of a node, and of all together."""

SPAN = "seconds, text such as 90m or 2d or, for a trace with instants, one such as 2026-01-31T14:00Z"


@dataclass(frozen=True, slots=True)
class Machine:
    """A node and when it is there. Seconds count as the trace's do."""

    node: Node
    from_seconds: float | None = None
    to_seconds: float | None = None

    def at(self, seconds: float) -> Node:
        """As the policy sees it then."""
        if self.from_seconds is not None and seconds < self.from_seconds:
            return replace(self.node, status=NodeStatus.DOWN, message="it has not joined yet")
        if self.to_seconds is not None and seconds >= self.to_seconds:
            return replace(self.node, status=NodeStatus.DOWN, message="it has gone")
        return self.node


@dataclass(frozen=True, slots=True)
class Site:
    """All that there is at some time."""

    machines: Sequence[Machine]

    @property
    def nodes(self) -> list[Node]:
        return [machine.node for machine in self.machines]

    def at(self, seconds: float) -> list[Node]:
        return [machine.at(seconds) for machine in self.machines]

    @property
    def borders(self) -> list[float]:
        """When a node comes or goes."""
        found = {at for one in self.machines for at in (one.from_seconds, one.to_seconds) if at is not None}
        return sorted(found)


def one_box(gpus: int, memory_bytes: int) -> Site:
    devices = tuple(
        Device("simulated", DeviceKind.GPU, index, f"GPU-{index}", "simulated", memory_bytes, 0)
        for index in range(gpus)
    )
    return Site([Machine(Node("simulated", NodeStatus.OK, "", devices))])


def read_nodes(path: Path, instant: Callable[[str], float]) -> Site:
    """`instant` reads what counts as the trace's times do, and raises ValueError. Raises JobFileError with every
    problem."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = "not UTF-8 text" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise JobFileError([Problem(str(path), None, f"cannot be read ({reason})")]) from error
    try:
        document = read(text, "yaml")
    except ReadError as error:
        raise JobFileError([Problem(str(path), error.line, error.message)]) from error
    reader = _Reader(document, instant)
    machines = list(reader.machines())
    if (count := sum(len(machine.node.devices) for machine in machines)) > MAX_ALL:
        reader.problems.append((None, f"has {count} devices in all; expected at most {MAX_ALL}"))
    problems = sorted([*document.problems, *reader.problems], key=lambda one: one[0] or 0)
    if problems:
        raise JobFileError([Problem(str(path), line, what) for line, what in problems])
    return Site(machines)


class _Reader:
    """What is wrong is gathered, so that all of it is told at once."""

    def __init__(self, document: Document, instant: Callable[[str], float]) -> None:
        self._document = document
        self._instant = instant
        self._names: set[str] = set()
        self.problems: list[tuple[int | None, str]] = []

    def machines(self) -> Iterator[Machine]:
        self._keys((), self._document.tree, ("nodes",))
        entries = self._document.tree.get("nodes")
        if not isinstance(entries, list) or not 1 <= len(entries) <= MAX_NODES:
            self._wrong(
                ("nodes",),
                entries,
                f"a list of 1 to {MAX_NODES} nodes such as {{name: box1, devices: [...]}}",
            )
            return
        for number, entry in enumerate(entries):
            place: Place = ("nodes", number)
            if not isinstance(entry, dict):
                self._wrong(place, entry, "a mapping with the keys name and devices")
                continue
            self._keys(place, entry, ("name", "devices", "from", "to"))
            yield self._machine(place, entry)

    def _machine(self, place: Place, entry: Mapping[str, Any]) -> Machine:
        name = self._name((*place, "name"), entry.get("name"))
        if name in self._names:
            self._say(
                (*place, "name"),
                f"{dotted((*place, 'name'))} is {name!r} for the second time; expected another",
            )
        self._names.add(name)
        models = [*self._devices((*place, "devices"), entry.get("devices"))]
        devices = tuple(
            Device(name, DeviceKind.GPU, index, f"GPU-{name}-{index}", model, memory, 0)
            for index, (model, memory) in enumerate(models[:MAX_DEVICES])
        )
        if len(models) > MAX_DEVICES:
            self._say(
                (*place, "devices"), f"{name} has {len(models)} devices; expected at most {MAX_DEVICES}"
            )
        begins, ends = (self._time((*place, key), entry.get(key)) for key in ("from", "to"))
        if begins is not None and ends is not None and ends <= begins:
            self._say((*place, "to"), f"{dotted((*place, 'to'))} is not after from; expected a later time")
        return Machine(Node(name, NodeStatus.OK, "", devices), begins, ends)

    def _devices(self, place: Place, entries: Any) -> Iterator[tuple[str, int]]:
        """(name, bytes) of each."""
        if not isinstance(entries, list) or not entries:
            self._wrong(place, entries, "a list of devices such as {name: H100, memory: 80GiB, count: 8}")
            return
        for number, entry in enumerate(entries):
            here: Place = (*place, number)
            if not isinstance(entry, dict):
                self._wrong(here, entry, "a mapping such as {name: H100, memory: 80GiB, count: 8}")
                continue
            self._keys(here, entry, ("name", "memory", "count"))
            name = self._name((*here, "name"), entry.get("name", "simulated"))
            memory = self._memory((*here, "memory"), entry.get("memory", "80GiB"))
            count = entry.get("count", 1)
            if type(count) is not int or not 1 <= count <= MAX_DEVICES:
                self._wrong((*here, "count"), count, f"an integer from 1 to {MAX_DEVICES}")
                count = 1
            yield from [(name, memory)] * count

    def _name(self, place: Place, value: Any) -> str:
        if (
            isinstance(value, str)
            and 0 < len(value) <= 100
            and value.isprintable()
            and value == value.strip()
        ):
            return value
        self._wrong(place, value, "a name of 1 to 100 printable characters")
        return f"node {len(self._names)}"

    def _memory(self, place: Place, value: Any) -> int:
        try:
            found = units.size_bytes(value)
        except ValueError:
            found = 0
        if not 1 <= found <= 1 << 60:
            self._wrong(place, value, "a size such as 80GiB")
        return found

    def _time(self, place: Place, value: Any) -> float | None:
        if value is None:
            return None
        try:
            if isinstance(value, bool) or not isinstance(value, str | int | float):
                raise ValueError
            return self._instant(str(value))
        except ValueError:
            self._wrong(place, value, SPAN)
            return None

    def _keys(self, place: Place, entry: Mapping[str, Any], known: Sequence[str]) -> None:
        for key in entry:
            if key not in known:
                named = dotted((*place, key))
                self._say((*place, key), f"{named} is not a known key; expected {', '.join(known)}")

    def _wrong(self, place: Place, value: Any, expected: str) -> None:
        found = "is missing" if value is None else f"is {describe(value)}"
        self._say(place, f"{dotted(place)} {found}; expected {expected}")

    def _say(self, place: Place, what: str) -> None:
        self.problems.append((self._document.line(place), what))
