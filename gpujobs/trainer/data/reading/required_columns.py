"""The columns that a job names, and that its tables lack or have twice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from gpujobs.trainer.data.reading import separators
from gpujobs.trainer.data.reading.table_files import Source
from gpujobs.trainer.data.reading.wanted import Wanted
from gpujobs.trainer.failures import DataError, together

SHOWN = 20


def require(sources: Sequence[Source], wanted: Wanted) -> None:
    """Raises DataError with every column that is not there, or there twice, of every file."""
    errors = []
    for source in sources:
        missing = [column for column in wanted.columns if column not in source.names]
        if missing:
            errors.append(_absent(source, missing))
        errors += [_twice(source, column) for column in wanted.columns if source.names.count(column) > 1]
    if errors:
        raise together(errors)


def require_columns(sources: Iterable[Source], columns: Iterable[str]) -> None:
    """Raises DataError with every column that is not there, of every file."""
    errors = []
    for source in sources:
        missing = [column for column in columns if column not in source.names]
        if missing:
            errors.append(_absent(source, missing))
    if errors:
        raise together(errors)


def _absent(source: Source, missing: Sequence[str]) -> DataError:
    known = source.names
    hints = []
    for column in missing:
        folded = [name for name in known if name.casefold().strip() == column.casefold().strip()]
        near = folded or get_close_matches(column, known, n=1)
        hints.append(f"{column}{f' (did you mean {near[0]}?)' if near else ''}")
    some = ", ".join(known[:SHOWN]) + (", ..." if len(known) > SHOWN else "")
    other = [sign for sign in (";", "\t", "|", ",") if len(known) == 1 and sign in known[0]]
    apart = f': say data.csv: {{separator: "{separators.escaped(other[0])}"}}' if other else ""
    return DataError(f"{source.name}: has no column {', '.join(hints)}; it has {some}{apart}")


def _twice(source: Source, column: str) -> DataError:
    places = [str(number + 1) for number, name in enumerate(source.names) if name == column]
    if source.head is None:
        return DataError(f"{source.name}: has several columns named {column}; expected one of each name")
    seen: dict[str, int] = {}
    names = []
    for name in source.names[:SHOWN]:
        seen[name] = seen.get(name, 0) + 1
        names.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return DataError(
        f"{source.name}: columns {' and '.join(places)} are both named {column}; expected one of each name: rename "
        f"them, or say data.csv: {{header: first, names: [{', '.join(names)}]}}"
    )
