"""The time line: a lane for each device, with what was, is and is expected on it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

from gpujobs.model import from_iso, iso

JOB, EXPECTED, RESERVATION, DRAIN, STRANGER = "job", "expected", "reservation", "drain", "stranger"


@dataclass(frozen=True, slots=True)
class Span:
    """`ends_at` None: it goes on, and nobody knows until when. A stranger is a moment: it was seen then. `row`: of its
    lane, counted from 0; what overlaps is in different ones. `label`: what may be shown of whose it is."""

    kind: str
    starts_at: datetime
    ends_at: datetime | None
    label: str
    state: str = ""
    job: int | None = None
    attempt: int | None = None
    row: int = 0

    def covers(self, at: datetime) -> bool:
        return self.starts_at <= at and (self.ends_at is None or at < self.ends_at)


@dataclass(frozen=True, slots=True)
class Lane:
    node: str
    kind: str
    index: int
    uuid: str
    name: str
    spans: list[Span]

    @property
    def rows(self) -> int:
        return 1 + max((span.row for span in self.spans), default=0)


@dataclass(frozen=True, slots=True)
class Timeline:
    """`is_whole`: nothing was left out because there was too much. `nodes`: how they are now, by name, where there are
    several; the lanes of one stand together."""

    starts_at: datetime
    ends_at: datetime
    now: datetime
    lanes: list[Lane]
    is_whole: bool = True
    nodes: Mapping[str, str] = field(default_factory=dict)

    def heads(self) -> list[str]:
        """For each lane what stands above it: its node and how that is, at the first of each; else nothing."""
        names = [lane.node for lane in self.lanes]
        if len(set(names)) < 2:
            return ["" for _ in names]
        return [
            self._called(name) if place == 0 or names[place - 1] != name else ""
            for place, name in enumerate(names)
        ]

    def _called(self, node: str) -> str:
        said = self.nodes.get(node)
        return f"{node}: {said}" if said else node

    def at(self, instant: datetime) -> Timeline:
        """Only what covers this instant."""
        lanes = [
            replace(lane, spans=[span for span in lane.spans if span.covers(instant)]) for lane in self.lanes
        ]
        return replace(self, lanes=lanes)

    def to_json(self) -> dict[str, Any]:
        return {
            "from": iso(self.starts_at),
            "to": iso(self.ends_at),
            "now": iso(self.now),
            "is_whole": self.is_whole,
            "nodes": dict(self.nodes),
            "lanes": [
                {
                    "device": {k: getattr(lane, k) for k in ("node", "kind", "index", "uuid", "name")},
                    "spans": [_span_json(span) for span in lane.spans],
                }
                for lane in self.lanes
            ],
        }


def _span_json(span: Span) -> dict[str, Any]:
    return {**asdict(span), "starts_at": iso(span.starts_at), "ends_at": iso(span.ends_at)}


def from_json(found: Mapping[str, Any]) -> Timeline:
    lanes = [
        Lane(**one["device"], spans=[_span_from(span) for span in one["spans"]]) for one in found["lanes"]
    ]
    return Timeline(
        _instant(found["from"]),
        _instant(found["to"]),
        _instant(found["now"]),
        lanes,
        bool(found["is_whole"]),
        found.get("nodes", {}),
    )


def _span_from(found: Mapping[str, Any]) -> Span:
    return Span(**{**found, "starts_at": _instant(found["starts_at"]), "ends_at": from_iso(found["ends_at"])})


def _instant(text: str) -> datetime:
    instant = from_iso(text)
    assert instant is not None
    return instant


def stacked(spans: Iterable[Span]) -> list[Span]:
    """In order of their begin, each in the first row that is free: jobs and what is expected above, the rest below."""
    ordered = sorted(spans, key=lambda span: (span.starts_at, span.job or 0))
    above = _rows([span for span in ordered if span.kind in (JOB, EXPECTED)], 0)
    first = 1 + max((span.row for span in above), default=-1)
    return above + _rows([span for span in ordered if span.kind not in (JOB, EXPECTED)], first)


def _rows(ordered: Sequence[Span], first: int) -> list[Span]:
    last: list[Span] = []  # of each row
    placed = []
    for span in ordered:
        row = next((n for n, before in enumerate(last) if _follows(span, before)), len(last))
        last[row : row + 1] = [span]
        placed.append(replace(span, row=first + row))
    return placed


def _follows(span: Span, before: Span) -> bool:
    """What is expected comes after what runs, of which nobody knows the end."""
    if before.ends_at is None:
        return span.kind == EXPECTED and before.kind == JOB
    return before.ends_at <= span.starts_at


def drains(events: Sequence[tuple[datetime, str, str]], start: datetime, end: datetime) -> list[Span]:
    """`events`: (instant, drained or resumed, reason) of one device in order, also the last before `start`."""
    found: list[Span] = []
    since: tuple[datetime, str] | None = None
    for at, kind, message in events:
        if kind == "drained":
            since = since or (at, message)
        elif kind == "resumed" and since is not None:
            found.append(Span(DRAIN, since[0], at, since[1]))
            since = None
    if since is not None:
        found.append(Span(DRAIN, since[0], None, since[1]))
    return [span for span in found if span.starts_at < end and (span.ends_at is None or span.ends_at > start)]
