"""`sweep:` makes many jobs of one file: every combination of `grid`, for every entry of `list`."""

from __future__ import annotations

import itertools
import math
from typing import Any

from gpujobs.jobfile.consistency import Found
from gpujobs.jobfile.keras_names import nearest
from gpujobs.jobfile.reader import Path, describe, dotted
from gpujobs.jobfile.settings import SettingError, parse_key

MAX_JOBS = 10_000
KINDS = ("grid", "list")

Setting = tuple[str, Path, Any, Path]
"""The key as written, the path that it names, its value, and where in the file the value stands."""


def combinations(sweep: Any) -> tuple[list[tuple[Setting, ...]], Found]:
    """The settings of each job, in order: the last key of the grid changes fastest."""
    problems: Found = []
    if not isinstance(sweep, dict) or not sweep:
        return [], [(("sweep",), f"sweep is {describe(sweep)}; expected a mapping with grid or list")]
    for kind in sweep:
        if kind not in KINDS:
            problems.append((("sweep", kind), f"sweep.{kind} is not a known key{nearest(kind, KINDS)}"))
    axes = _grid(sweep["grid"], problems) if "grid" in sweep else []
    entries = _list(sweep["list"], problems) if "list" in sweep else [()]
    count = len(entries) * math.prod(map(len, axes))
    if count > MAX_JOBS:
        problems.append((("sweep",), f"sweep makes {count} jobs; at most {MAX_JOBS} are possible"))
    if problems:
        return [], problems
    return [(*entry, *point) for entry in entries for point in itertools.product(*axes)], []


def _grid(grid: Any, problems: Found) -> list[list[Setting]]:
    where: Path = ("sweep", "grid")
    if not isinstance(grid, dict) or not grid:
        problems.append((where, f"sweep.grid is {describe(grid)}; expected keys with lists of values"))
        return []
    axes = []
    for key, values in grid.items():
        path = _path(key, (*where, key), problems)
        if not isinstance(values, list) or not values:
            message = f"{dotted((*where, key))} is {describe(values) if values != [] else 'an empty list'}"
            problems.append(((*where, key), f"{message}; expected a list of values"))
            continue
        axes.append([(key, path, value, (*where, key, index)) for index, value in enumerate(values)])
    return axes


def _list(entries: Any, problems: Found) -> list[tuple[Setting, ...]]:
    where: Path = ("sweep", "list")
    if not isinstance(entries, list) or not entries:
        problems.append((where, f"sweep.list is {describe(entries)}; expected a list of mappings"))
        return []
    found = []
    for index, entry in enumerate(entries):
        at: Path = (*where, index)
        if not isinstance(entry, dict) or not entry:
            problems.append((at, f"{dotted(at)} is {describe(entry)}; expected a mapping of keys and values"))
            continue
        found.append(
            tuple((key, _path(key, (*at, key), problems), value, (*at, key)) for key, value in entry.items())
        )
    return found


def _path(key: str, at: Path, problems: Found) -> Path:
    if key == "name" or key.startswith("sweep"):
        problems.append((at, f"{dotted(at)}: a sweep cannot set {key}"))
        return ()
    try:
        return parse_key(key)
    except SettingError as error:
        problems.append((at, f"{dotted(at)}: {error}"))
        return ()
