"""What a screen shows at one moment, and what has changed between two: the queue with its reasons, and the devices
with their jobs and strangers. `status --watch` and the pages draw it; the daemon works it out once for all who see the
same.

A difference carries only what is new: `applied(before, difference(before, after)) == after`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from gpujobs.view import words


@dataclass(frozen=True, slots=True)
class Row:
    """A job, or the jobs of a sweep. `shown` is `{"job": JOB}` or `{"group": GROUP}` of docs/protocol.md."""

    key: str
    is_own: bool
    says: str
    shown: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Now:
    """`total` counts the rows that there are, of which `rows` may be the first ones. `devices` are empty for
    whoever has not asked for them, `nodes` too where there is one only."""

    rows: tuple[Row, ...] = ()
    total: int = 0
    notices: tuple[str, ...] = ()
    devices: tuple[Mapping[str, Any], ...] = ()
    nodes: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Difference:
    """`put`: rows that are new or other than before. `order`: the keys of all rows, None where they stand as before.
    `rest`: the other fields of `Now` that have changed."""

    put: tuple[Row, ...]
    order: tuple[str, ...] | None
    rest: Mapping[str, Any]


def row(shown: Mapping[str, Any], *, is_own: bool) -> Row:
    if "group" in shown:
        group = shown["group"]
        return Row(f"g{group['id']}", is_own, words.of_group(group), shown)
    return Row(f"j{shown['job']['id']}", is_own, words.of_job(shown["job"]), shown)


def difference(before: Now, after: Now) -> Difference | None:
    """None where nothing has changed."""
    known = {one.key: one for one in before.rows}
    put = tuple(one for one in after.rows if known.get(one.key) != one)
    order = _keys(after)
    rest = {name: getattr(after, name) for name in REST if getattr(before, name) != getattr(after, name)}
    if not put and order == _keys(before) and not rest:
        return None
    return Difference(put, None if order == _keys(before) else order, rest)


def applied(before: Now, change: Difference) -> Now:
    known = {one.key: one for one in (*before.rows, *change.put)}
    order = _keys(before) if change.order is None else change.order
    return replace(before, rows=tuple(known[key] for key in order), **change.rest)


def _keys(now: Now) -> tuple[str, ...]:
    return tuple(one.key for one in now.rows)


REST = tuple(field.name for field in fields(Now) if field.name != "rows")


def now_to_json(now: Now) -> dict[str, Any]:
    return {"rows": list(map(_row_to_json, now.rows)), **{name: getattr(now, name) for name in REST}}


def now_from_json(value: Mapping[str, Any]) -> Now:
    return Now(tuple(map(_row_from_json, value["rows"])), **_rest(value))


def difference_to_json(change: Difference) -> dict[str, Any]:
    order = {} if change.order is None else {"order": change.order}
    return {"put": list(map(_row_to_json, change.put)), **order, **change.rest}


def difference_from_json(value: Mapping[str, Any]) -> Difference:
    order = value.get("order")
    put = tuple(map(_row_from_json, value["put"]))
    return Difference(put, None if order is None else tuple(order), _rest(value))


def _row_to_json(one: Row) -> dict[str, Any]:
    return {"key": one.key, "own": one.is_own, "says": one.says, **one.shown}


def _row_from_json(value: Mapping[str, Any]) -> Row:
    shown = {kind: value[kind] for kind in ("job", "group") if kind in value}
    if "key" not in value:  # as `GET /v1/queue` has it
        return row(shown, is_own=False)
    return Row(value["key"], value["own"], value["says"], shown)


def _rest(value: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _frozen(value[name]) for name in REST if name in value}


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
