"""`sweep:` makes many jobs of one file: for every entry of `list`, every combination of `grid`, and for each
of those every draw of `random`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from gpujobs.jobfile.consistency import Found
from gpujobs.jobfile.distributions import DistributionError, Draw, distribution, shares
from gpujobs.jobfile.keras_names import among
from gpujobs.jobfile.reader import Path, describe, dotted
from gpujobs.jobfile.settings import SettingError, parse_key

MAX_JOBS = 10_000
MAX_SETTINGS = 1_000_000
"""Of all jobs of a sweep together."""
MAX_PROBLEMS = 100
"""Where the search for more ends: a hostile file can hold very many, and each costs a look for near names."""
MAX_SEED = (1 << 32) - 1
KINDS = ("grid", "list", "random")
RANDOM_KEYS = ("count", "seed", "distributions")


class Setting(NamedTuple):
    """One value of one job."""

    key: str
    """As written."""
    path: Path
    """What it sets."""
    value: Any
    at: Path
    """Where in the file the value stands, or the distribution that drew it."""

    @property
    def is_drawn(self) -> bool:
        return self.at[1] == "random"


Point = tuple[Setting, ...]
"""The settings that make one job."""


class _Field(NamedTuple):
    key: str
    path: Path
    draw: Draw
    at: Path


@dataclass(frozen=True, slots=True)
class _Random:
    """`random`, not drawn yet."""

    count: int = 1
    seed: int = 0
    fields: tuple[_Field, ...] = ()

    def points(self) -> list[Point]:
        columns = [
            [
                Setting(field.key, field.path, field.draw(share), field.at)
                for share in itertools.islice(shares(self.seed, field.key), self.count)
            ]
            for field in self.fields
        ]
        return list(zip(*columns, strict=True)) if columns else [()]


def combinations(sweep: Any) -> tuple[list[Point], Found]:
    """The settings of each job, in order, and what is wrong with the sweep.

    What `list` says changes slowest; then the grid, its last key fastest; the draws change with every job.
    """
    problems: Found = []
    if not isinstance(sweep, dict) or not sweep:
        return [], [(("sweep",), f"sweep is {describe(sweep)}; expected a mapping with grid, list or random")]
    _refuse_unknown(sweep, KINDS, ("sweep",), problems)
    entries: list[Point] = _list(sweep["list"], problems) if "list" in sweep else [()]
    axes = _grid(sweep["grid"], problems) if "grid" in sweep else []
    drawn = _random(sweep["random"], problems) if "random" in sweep else _Random()
    problems += _sizes(entries, axes, drawn) or _overwritten(entries, axes, drawn)
    if problems:
        return [], problems
    grid = list(itertools.product(*axes))
    draws = drawn.points()
    return [(*entry, *point, *draw) for entry in entries for point in grid for draw in draws], []


def at_most(tree: dict[str, Any], sweep: Any) -> tuple[int | None, Found]:
    """How many jobs of the sweep may run at once, and what is wrong with that; taken out of both, for it stands
    beside `sweep` or in it."""
    places: list[tuple[Path, Any]] = [(("at_most",), tree.pop("at_most", None))]
    if isinstance(sweep, dict):
        places.append((("sweep", "at_most"), sweep.pop("at_most", None)))
    given = [(at, value) for at, value in places if value is not None]
    if not given:
        return None, []
    (at, value), *more = given
    if more:
        return None, [(at, "at_most stands beside sweep and in it; expected one of them")]
    if sweep is None:
        return None, [(at, "at_most is for the jobs of a sweep, and this file has none")]
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_JOBS:
        expected = f"expected a whole number from 1 to {MAX_JOBS}: so many of the sweep's jobs at once"
        return None, [(at, f"{dotted(at)} is {describe(value)}; {expected}")]
    return value, []


def _sizes(entries: list[Point], axes: list[list[Setting]], drawn: _Random) -> Found:
    count = len(entries) * math.prod(map(len, axes)) * drawn.count
    keys = max(map(len, entries), default=0) + len(axes) + len(drawn.fields)
    if count > MAX_JOBS:
        return [(("sweep",), f"sweep makes {count} jobs; at most {MAX_JOBS} are possible")]
    if count * keys > MAX_SETTINGS:
        return [(("sweep",), f"sweep sets {keys} fields of {count} jobs; make fewer at once")]
    return []


def _overwritten(entries: list[Point], axes: list[list[Setting]], drawn: _Random) -> Found:
    """Settings that a later one would undo: the same field, or all of the section that it is in."""
    later = [(axis[0].key, axis[0].path, axis[0].at[:-1]) for axis in axes]
    later += [(field.key, field.path, field.at) for field in drawn.fields]
    places = {path: at for _, path, at in later}
    _, problems = _undone(later)
    for entry in entries:
        inside, found = _undone([(one.key, one.path, one.at) for one in entry])
        found |= {places[path]: _undoes(places[path], inside[path]) for path in inside.keys() & places.keys()}
        problems = {**found, **problems}
    return list(problems.items())


def _undone(settings: Iterable[tuple[str, Path, Path]]) -> tuple[dict[Path, str], dict[Path, str]]:
    """(every path that a setting is in, with its key; the places of those that undo one before them)."""
    inside: dict[Path, str] = {}
    problems: dict[Path, str] = {}
    for key, path, at in settings:
        if path in inside:
            problems[at] = _undoes(at, inside[path])
        inside |= {path[:length]: key for length in range(1, len(path) + 1)}
    return inside, problems


def _undoes(at: Path, key: str) -> str:
    return f"{dotted(at)} undoes {key}, which the sweep sets too"


def _grid(grid: Any, problems: Found) -> list[list[Setting]]:
    where: Path = ("sweep", "grid")
    axes = []
    for key, path, values, at in _keys(grid, where, "expected keys with lists of values", problems):
        if not isinstance(values, list) or not values:
            problems.append((at, f"{dotted(at)} is {describe(values)}; expected a list of values"))
            continue
        axes.append([Setting(key, path, value, (*at, index)) for index, value in enumerate(values)])
    return axes


def _list(entries: Any, problems: Found) -> list[Point]:
    where: Path = ("sweep", "list")
    if not isinstance(entries, list) or not entries:
        problems.append((where, f"sweep.list is {describe(entries)}; expected a list of mappings"))
        return []
    expected = "expected a mapping of keys and values"
    return [
        tuple(itertools.starmap(Setting, _keys(entry, (*where, index), expected, problems)))
        for index, entry in enumerate(entries)
        if len(problems) < MAX_PROBLEMS
    ]


def _random(given: Any, problems: Found) -> _Random:
    where: Path = ("sweep", "random")
    if not isinstance(given, dict):
        problems.append(
            (where, f"sweep.random is {describe(given)}; expected a mapping with count and distributions")
        )
        return _Random()
    _refuse_unknown(given, RANDOM_KEYS, where, problems)
    count = _whole(given, "count", 1, MAX_JOBS, problems)
    seed = _whole({"seed": 0, **given}, "seed", 0, MAX_SEED, problems)
    fields = tuple(_fields(given.get("distributions"), problems))
    return _Random(count, seed, fields)


def _whole(given: Mapping[str, Any], key: str, low: int, high: int, problems: Found) -> int:
    """A whole number of `random`; `low` where it is none."""
    value, at = given.get(key), ("sweep", "random", key)
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
        return value
    found = f"is {describe(value)}" if key in given else "is missing"
    problems.append((at, f"{dotted(at)} {found}; expected a whole number from {low} to {high}"))
    return low


def _fields(distributions: Any, problems: Found) -> Iterator[_Field]:
    where: Path = ("sweep", "random", "distributions")
    expected = "expected keys with distributions, such as training.batch_size: {choice: [16, 32]}"
    for key, path, given, at in _keys(distributions, where, expected, problems):
        try:
            yield _Field(key, path, distribution(given), at)
        except DistributionError as error:
            problems.append((at, f"{dotted(at)}: {error}"))


def _keys(given: Any, where: Path, expected: str, problems: Found) -> Iterator[tuple[str, Path, Any, Path]]:
    """(key, the path that it names, its value, its place in the file) of a mapping of dotted keys."""
    if not isinstance(given, dict) or not given:
        problems.append((where, f"{dotted(where)} is {describe(given)}; {expected}"))
        return
    for key, value in given.items():
        at = (*where, key)
        yield key, _path(key, at, problems), value, at
        if len(problems) >= MAX_PROBLEMS:
            return


def _path(key: str, at: Path, problems: Found) -> Path:
    if key in ("name", "at_most") or key.startswith("sweep"):
        problems.append((at, f"{dotted(at)}: a sweep cannot set {key}"))
        return ()
    try:
        return parse_key(key)
    except SettingError as error:
        problems.append((at, f"{dotted(at)}: {error}"))
        return ()


def _refuse_unknown(given: Iterable[str], known: Iterable[str], where: Path, problems: Found) -> None:
    for key in given:
        if key not in known and len(problems) < MAX_PROBLEMS:
            problems.append(((*where, key), f"{dotted((*where, key))} is not a known key{among(key, known)}"))
