"""From the text of a job file to the jobs that it makes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import PurePath
from typing import Any

from gpujobs import formats
from gpujobs.demand import Demand
from gpujobs.errors import JobFileError, Problem
from gpujobs.jobfile.reader import Document, Path, ReadError, read, read_value
from gpujobs.jobfile.settings import SettingError, parse_key, path_of, with_value
from gpujobs.jobfile.sweep import Point, at_most, combinations
from gpujobs.jobfile.validate import validate
from gpujobs.jobfile.writing import dump

__all__ = ["ResolvedJob", "dump", "expand", "load"]

MAX_SHOWN = 50
MAX_SWEEP_WORK = 2_000_000
"""Jobs of a sweep times the lines of one: bounds what one submission can ask of the daemon."""

SMALL_TEXT = 8192
"""Characters; a larger file, or a sweep, is not worth keeping."""

Origins = dict[Path, str | Path]
"""Where a path's value came from, if not from its own place: an option, or another place in the file."""


@dataclass(frozen=True, slots=True)
class ResolvedJob:
    """One valid job. `resolved` is a job file itself, with every default; jobs share parts of it: read only.

    `data_paths` are as written, relative to the job file's directory, each once; `in_place_paths` are those
    of them that are used where they lie. `group` is the file's name where a sweep made this job.
    """

    name: str
    resolved: dict[str, Any]
    data_paths: tuple[str, ...]
    in_place_paths: tuple[str, ...]
    demand: Demand
    """What the file asks for; a submission may add to it."""

    retries: int
    trained_by: int | None = None
    """The job whose model is applied, where this one trains none."""

    share: str | None = None
    """private or lab, where the file says; None: as the site does."""

    group: str | None = None
    sweep_values: Mapping[str, Any] = field(default_factory=dict)
    _line: Callable[[str], int | None] = field(default=lambda _: None, repr=False, compare=False)
    _near: Callable[[Path], int | None] = field(default=lambda _: None, repr=False, compare=False)

    def line_of(self, key: str) -> int | None:
        """The line of a dotted key in the job file; None where the file does not have it."""
        return self._line(key)

    def line_near(self, path: Path) -> int | None:
        """The line of the place, or of the nearest around it that the file has."""
        return self._near(path)

    def line_in(self, message: str) -> int | None:
        """The line of what a message begins with, `model.layers[0].LSTM: ...`, or of the nearest around it."""
        place = re.match(r"((?:data|model|training|predict)[^:\s]*): ", message)
        return self._near(path_of(place[1])) if place else None


def load(path_as_named: str, text: str, overrides: Mapping[str, str] = {}) -> ResolvedJob:
    """The one job of a file. Raises JobFileError with every problem, also where a sweep makes several."""
    jobs = expand(path_as_named, text, overrides)
    if len(jobs) != 1:
        raise JobFileError(
            [Problem(path_as_named, None, f"the sweep makes {len(jobs)} jobs; expected one job")]
        )
    return jobs[0]


def expand(path_as_named: str, text: str, overrides: Mapping[str, str] = {}) -> list[ResolvedJob]:
    """Every job that a file makes: one, or those of its sweep. Raises JobFileError with every problem."""
    path = PurePath(path_as_named)
    language = "toml" if path.suffix.lower() == ".toml" else "yaml"
    is_small = len(text) <= SMALL_TEXT and "sweep" not in text
    outcome = (_expand_small if is_small else _expand)(
        language, path.stem or "job", text, tuple(overrides.items())
    )
    if isinstance(outcome, _Invalid):
        raise JobFileError(_reported(path_as_named, outcome))
    return list(outcome)


def _reported(path_as_named: str, invalid: _Invalid) -> list[Problem]:
    """As many problems as a person can read."""
    shown = [
        Problem(file or path_as_named, line, _printable(what if what.endswith((".", "?")) else what + "."))
        for file, line, what in invalid.problems[:MAX_SHOWN]
    ]
    if len(invalid.problems) > MAX_SHOWN:
        rest = len(invalid.problems) - MAX_SHOWN
        shown.append(Problem(path_as_named, None, f"{rest} more problems are not shown."))
    return shown


@dataclass(frozen=True, slots=True)
class _Invalid:
    """(an option instead of the file or None, line, message) of each problem."""

    problems: tuple[tuple[str | None, int | None, str], ...]


@lru_cache(maxsize=8)
def _expand(
    language: str, default_name: str, text: str, overrides: tuple[tuple[str, str], ...]
) -> tuple[ResolvedJob, ...] | _Invalid:
    """Cached by text, since a submission asks two or three times. The file's path is not part of the answer."""
    try:
        document = read(text, language)
    except ReadError as error:
        return _Invalid(((None, error.line, error.message),))
    problems: list[tuple[str | None, int | None, str]] = [
        (None, line, what) for line, what in document.problems
    ]
    origins: Origins = {}
    tree = {"name": default_name, **document.tree}
    for key, written in overrides:
        option = f"--set {_short(key)}={_short(written)}"
        try:
            path, value = _setting(key, written)
            tree = with_value(tree, path, value)
            origins[path] = option
        except (SettingError, ReadError) as error:
            problems.append((option, None, str(error)))
    is_sweep = "sweep" in tree
    sweep = tree.pop("sweep", None)
    sweep = dict(sweep) if isinstance(sweep, dict) else sweep
    most, found = at_most(tree, sweep)
    problems += [_placed(document, origins, path, what) for path, what in found]
    points: list[Point] = [()]
    if is_sweep:
        points, found = combinations(sweep)
        work = len(points) * sum(1 for path in document.lines if path[0] != "sweep")
        if work > MAX_SWEEP_WORK:
            found = [(("sweep",), f"sweep makes {len(points)} jobs of too large a file; make fewer at once")]
            points = []
        problems += [_placed(document, origins, path, what) for path, what in found]
    jobs: list[ResolvedJob] = []
    blamed: set[Path] = set()
    for point in points or [()]:
        number = len(jobs) if is_sweep else None
        outcome = _one(document, tree, origins, point, number, blamed, most)
        if isinstance(outcome, _Invalid):
            problems += outcome.problems
            if len(problems) > 100:
                break
        else:
            jobs.append(outcome)
    if problems:
        by_line = sorted(dict.fromkeys(problems), key=lambda one: (one[0] or "", one[1] or 0))
        return _Invalid(tuple(by_line))
    return tuple(jobs)


def _printable(text: str) -> str:
    """One line without control characters, which a terminal would obey."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def _short(text: str) -> str:
    text = _printable(text)
    return text if len(text) <= 60 else text[:57] + "..."


_expand_small = lru_cache(maxsize=1024)(_expand.__wrapped__)
"""So many small files of one submission are read once, though it asks again when their data has come."""


def _setting(key: str, written: str) -> tuple[Path, Any]:
    path = parse_key(key)
    return path, written if path == ("name",) else read_value(written)


def _one(
    document: Document,
    tree: dict[str, Any],
    origins: Origins,
    point: Point,
    number: int | None,
    blamed: set[Path],
    most: int | None,
) -> ResolvedJob | _Invalid:
    """`blamed`: the distributions that have drawn a wrong value before; each is reported once."""
    origins = dict(origins)
    for key, path, value, at in point:
        try:
            tree = with_value(tree, path, value)
            origins[path] = _origin(document, origins, at)
        except SettingError as error:
            return _Invalid((_placed(document, origins, at, f"{key}: {error}"),))
    resolved, found = validate(tree)
    if found:
        placed = [(_origin(document, origins, path), what) for path, what in found]
        new = [(origin, what) for origin, what in placed if origin not in blamed]
        blamed |= {one.at for one in point if one.is_drawn and one.at in dict(placed)}
        return _invalid(document, new)
    group = resolved["name"] if number is not None else None
    if number is not None:
        resolved["name"] = f"{group[:90]}-{number + 1}" if group else str(number)
    return _resolved_job(resolved, group, {one.key: one.value for one in point}, most, document)


def _invalid(document: Document, placed: list[tuple[str | Path, str]]) -> _Invalid:
    unreadable = {line for line, _ in document.problems}  # already reported, by the reader
    located = [_located(document, origin, what) for origin, what in placed]
    return _Invalid(tuple(one for one in located if one[0] or one[1] not in unreadable))


def _placed(
    document: Document, origins: Origins, path: Path, what: str
) -> tuple[str | None, int | None, str]:
    return _located(document, _origin(document, origins, path), what)


def _located(document: Document, origin: str | Path, what: str) -> tuple[str | None, int | None, str]:
    return (origin, None, what) if isinstance(origin, str) else (None, document.line(origin), what)


def _origin(document: Document, origins: Origins, path: Path) -> str | Path:
    """The option, or the place in the file, that is to blame for the value at `path`."""
    for length in range(len(path), 0, -1):
        if path[:length] in origins:
            return origins[path[:length]]
        if path[:length] in document.lines:
            break
    return path


def _resolved_job(
    resolved: dict[str, Any],
    group: str | None,
    sweep_values: dict[str, Any],
    most: int | None,
    document: Document,
) -> ResolvedJob:
    files = list(_data_files(resolved))
    return ResolvedJob(
        name=resolved["name"],
        resolved=resolved,
        data_paths=tuple(dict.fromkeys(path for path, _ in files)),
        in_place_paths=tuple(dict.fromkeys(path for path, in_place in files if in_place)),
        demand=_demand(resolved, most),
        retries=resolved["retries"],
        trained_by=resolved["model"].get("job"),
        share=resolved.get("share"),
        group=group,
        sweep_values=sweep_values,
        _line=lambda key: document.lines.get(tuple(key.split("."))),
        _near=document.line,
    )


def _demand(resolved: Mapping[str, Any], most: int | None) -> Demand:
    """`most`: so many jobs of its sweep may run at once."""
    resources = resolved["resources"]
    return Demand(
        priority=resolved["priority"],
        requested_gpu=resources["gpu"],
        node=_node(resources["node"]),
        gpu_name=resources["gpu_name"],
        gpu_memory=resources["gpu_memory"],
        preemptible=resolved["preemptible"],
        time_limit_seconds=resources["time_limit"],
        at_most=most,
    )


def _node(named: str | Sequence[str] | None) -> str | tuple[str, ...] | None:
    """Each name once; of a list of one, that."""
    if named is None or isinstance(named, str):
        return named
    names = tuple(dict.fromkeys(named))
    return names[0] if len(names) == 1 else names


def _data_files(resolved: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    """Each path as written, and whether it is used where it lies."""
    data = resolved.get("data", {})
    parts = (data.get(part) for part in ("train", "validation", "test"))
    for entry in (*parts, *resolved["predict"]):
        if entry is None:
            continue
        several = (*(entry.get("files") or ()), *(entry.get("arrays") or {}).values())
        for path in (entry.get("path"), *several):
            if path is not None:
                yield path, entry["in_place"]


def with_files(path_as_named: str, job: ResolvedJob, patterns: Mapping[str, Sequence[str]]) -> ResolvedJob:
    """The job with the files that its patterns stand for. Raises JobFileError for those that are no tables."""
    used = [path for path in job.data_paths if path in patterns]
    if not used:
        return job
    for pattern in used:
        wrong = next((path for path in patterns[pattern] if not formats.is_table(path)), None)
        if wrong is not None or not patterns[pattern]:
            what = (
                f'"{pattern}" matches {wrong or "nothing"}; expected tables only (.csv, .tsv, .txt, .parquet)'
            )
            raise JobFileError([Problem(path_as_named, job.line_of("data.train"), what)])
    resolved = dict(job.resolved)
    if "data" in resolved:
        data = resolved["data"]
        parts = {
            part: _with_files(data[part], patterns)
            for part in ("train", "validation", "test")
            if data.get(part)
        }
        resolved["data"] = {**data, **parts}
    resolved["predict"] = [_with_files(entry, patterns) for entry in resolved["predict"]]
    files = list(_data_files(resolved))
    return replace(
        job,
        resolved=resolved,
        data_paths=tuple(dict.fromkeys(path for path, _ in files)),
        in_place_paths=tuple(dict.fromkeys(path for path, in_place in files if in_place)),
    )


def _with_files(entry: dict[str, Any], patterns: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    if entry.get("files"):
        found = [one for path in entry["files"] for one in patterns.get(path, [path])]
        return {**entry, "files": list(dict.fromkeys(found))}
    if entry.get("path") not in patterns:
        return entry
    return {key: value for key, value in entry.items() if key != "path"} | {
        "files": list(patterns[entry["path"]])
    }
