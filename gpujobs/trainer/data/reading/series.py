"""Tables as series: which columns are what, and the rows of each series together, in time order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpujobs.jobfile.consistency import times_of
from gpujobs.protocol.spec import AttemptSpec
from gpujobs.trainer.data import missing
from gpujobs.trainer.data.notices import listed, n, say
from gpujobs.trainer.data.reading import alike, one_export, table_files, tables
from gpujobs.trainer.data.reading.cells import TRUE, shown
from gpujobs.trainer.data.reading.dialect import DATE_LIKE, UNNAMED
from gpujobs.trainer.data.reading.input_requirements import heads
from gpujobs.trainer.data.reading.loaded import (
    CLASS_TASKS,
    Coded,
    Known,
    LoadedData,
    RowNames,
    begins,
    place,
    require_order,
    require_times,
    rows_named,
)
from gpujobs.trainer.data.reading.required_columns import require_columns
from gpujobs.trainer.data.reading.table_files import FILE, Source
from gpujobs.trainer.data.reading.wanted import BecomesText, Wanted
from gpujobs.trainer.failures import DataError, together

SHOWN_VALUES = 8
EXACT = 1 << 24
"""Up to here float32 has every whole number."""

BADNESS = ("number", "truth", "mixed", "text", "other")
"""Kinds of columns; of several files, the last of these counts."""


def read_table(
    spec: AttemptSpec, paths: Sequence[str], task: str, *, needs_y: bool, known: Known
) -> LoadedData:
    """`known`: of the training file, where this is another. Raises DataError, with every problem."""
    data = spec.jobfile["data"]
    sources = _looked_at(spec, paths)
    names = _Names(data, sources)
    needed = names.needed(known, needs_y=needs_y)
    used = [*needed, *names.target] if known.features else needed  # the training file had both
    number_format = one_export.agree(sources, known.number_format, used)
    require_columns(sources, needed)
    target = names.target if all(column in names.kinds for column in names.target) else []
    are_text = known.are_text or any(map(_is_read_as_text, data.get("classes") or ()))
    features = list(known.features) or names.features(task)
    _refuse_text(spec, sources, names, [column for column in features if column not in target])
    texts = [column for column in target if _is_text(sources, names, column, task, are_text)]
    weight = [data["sample_weight"]] if data.get("sample_weight") and needs_y else []
    date_order = table_files.agree_on_dates(sources, names.time, known.date_order)
    table = _read(spec, sources, names, [*features, *target, *weight], texts, task)
    _say(sources, names)
    errors = [error for column in names.apart for error in _wordless(names.file, table, column)]
    if errors:
        raise together(errors)
    if needs_y and data.get("missing", "error") == "error":
        errors = [error for column in texts for error in _wordless(names.file, table, column)]
        if errors:
            raise together(errors)
    say(_in_several_files(names, table))
    found = _arrays(names, data, _series_together(names, table), features, target, task)
    found = found if needs_y else without_unlabelled(found, data.get("missing", "error"))
    if found.time is not None and found.lengths is not None:  # of windows, the timeline sees to it
        require_times(found.place("time"), found.time, found.rows)
        firsts = np.cumsum(found.lengths) - found.lengths
        require_order(found.place("time"), found.time, firsts, found.row_number)
    truths = [column for column in found.features if names.kinds[column] == "truth" or column in known.truths]
    _require_truths(found, truths)
    return replace(
        found,
        truths=tuple(truths),
        is_fixed=known.is_trained,
        number_format=number_format,
        date_order=date_order,
    )


def _looked_at(spec: AttemptSpec, paths: Sequence[str]) -> list[Source]:
    """Raises DataError with the problems of every file."""
    sources, errors = [], []
    for path in paths:
        try:
            sources.append(table_files.look(path, place(spec, path), spec.jobfile["data"].get("csv") or {}))
        except DataError as error:
            errors.append(error)
    if errors:
        raise together(errors)
    return sources


def named(paths: Sequence[str]) -> str:
    """Several files, for messages."""
    if len(paths) <= 3:
        return ", ".join(paths)
    return f"{paths[0]} and {len(paths) - 1} more"


@dataclass(frozen=True)
class _Names:
    """What the job file calls the columns of its tables. `file`: theirs, for messages."""

    data: Mapping[str, Any]
    sources: Sequence[Source]

    @property
    def file(self) -> str:
        return named([source.name for source in self.sources])

    @property
    def kinds(self) -> dict[str, str]:
        """Of the columns that all files have."""
        first = self.sources[0]
        return {
            column: max((source.kinds[column] for source in self.sources), key=BADNESS.index)
            for column in first.names
            if all(column in source.kinds for source in self.sources)
        }

    @property
    def time(self) -> list[str]:
        return times_of(self.data)

    @property
    def target(self) -> list[str]:
        return list(self.data["target"])

    @property
    def group(self) -> str | None:
        return self.data.get("group")

    @property
    def sequence(self) -> str | None:
        by: str | None = (self.data.get("sequence") or {}).get("by")
        return by

    @property
    def apart(self) -> list[str]:
        """The columns that tell series apart."""
        return [column for column in (self.group, self.sequence) if column]

    @property
    def by_file(self) -> bool:
        """Whether each file is a series: no column has the name that would say so."""
        return FILE in self.apart and FILE not in self.sources[0].names

    def needed(self, known: Known, *, needs_y: bool) -> list[str]:
        """The columns that every file must have."""
        weight = self.data.get("sample_weight")
        of_y = [*self.target, *([weight] if weight else [])] if needs_y else []
        apart = [column for column in self.apart if column != FILE or not self.by_file]
        features = known.features or self.data.get("features") or ()
        return list(dict.fromkeys([*features, *of_y, *self.time, *apart]))

    def features(self, task: str) -> list[str]:
        """Those that the job names; else every other column with a name. What is forecast is a feature too."""
        if self.data.get("features") is not None:
            return list(self.data["features"])
        apart = {*self.time, *self.apart, self.data.get("sample_weight")}
        if task != "forecasting":
            apart |= set(self.target)
        features = [
            column for column in self.sources[0].names if column not in apart and not UNNAMED.match(column)
        ]
        if not features:
            known = ", ".join(filter(None, self.sources[0].names))
            raise DataError(f"{self.file}: has no column left for features; expected some beside {known}")
        return features


def _say(sources: Sequence[Source], names: _Names) -> None:
    """How files are written, where that is not as usual, and which columns are left out."""
    said: dict[str, list[str]] = {}
    for source in sources:
        for line in _notices(source, names):
            said.setdefault(line, []).append(source.name)
    for line, files in said.items():
        print(f"{named(files)}: {line}")


def _notices(source: Source, names: _Names) -> Iterator[str]:
    if source.head is not None:
        dates = table_files.time_format(source, names.time)
        how = [*source.head.dialect.said]
        if dates is not None and dates.kind == "written":
            how.append(dates.said)
        if how:
            yield f"read as: {', '.join(how)}."
    if names.data.get("features") is None:
        for number, column in enumerate(source.names):
            if UNNAMED.match(column) and column not in (*names.time, *names.apart, *names.target):
                called = f"has no name{f' ({column})' if column else ''}"
                yield (
                    f"column {number + 1} {called}, as the index that pandas writes, and is left out: name it in "
                    "data.features, or with data.csv.names, if it is a feature."
                )
        counting = source.counting_column
        apart = (*names.time, *names.apart, *names.target)
        if counting is not None and counting not in apart and not UNNAMED.match(counting):
            yield (
                f"column 1 ({counting}) numbers the rows, as an index does, and is a feature: say in data.features "
                "which columns are, or name it in data.time, if it is none."
            )
        first = names.sources[0]
        more = [column for column in source.names if column not in first.names and not UNNAMED.match(column)]
        if more:
            yield f"has columns that {first.name} lacks, which are left out: {listed(more, len(more))}."
    used = names.data.get("features") or source.names
    for column, kind in source.kinds.items():
        if kind == "truth" and source.head is not None and column in used and column not in names.target:
            words = sorted(source.distinct(column), key=lambda word: (word in TRUE, word))
            read = ", ".join(f"{word} is read as {int(word in TRUE)}" for word in words)
            yield f"column {column}: {read}."


def _refuse_text(
    spec: AttemptSpec, sources: Sequence[Source], names: _Names, features: Sequence[str]
) -> None:
    """Raises DataError with every feature that is text, and what it holds."""
    is_embedded = any(head.ids is not None for head in heads(spec.jobfile).values())
    errors = []
    for column in features:
        source = next((one for one in sources if one.kinds.get(column) == "text"), None)
        if source is not None:
            what = _text(source, column, names.time, is_embedded=is_embedded)
            errors.append(DataError(f"{source.name}: column {column} holds text: {what}"))
    if errors:
        raise together(errors)


def _text(source: Source, column: str, time: Sequence[str], *, is_embedded: bool) -> str:
    values = source.distinct(column)
    if values and all(DATE_LIKE.fullmatch(one) for one in values[:100]):
        pair = f"[{column}, {time[0] if len(time) == 1 else 'COLUMN'}]"
        say = pair if len(time) == 1 else f"{column}, or, of a date and a time, {pair}"
        return f"{_some(values)}; these look like times: say data.time: {say}, or name the columns in data.features"
    if is_embedded:
        return f"{_some(values)}; expected ids for the Embedding: number the words from 1, as 0 is padding"
    return (
        f"{_some(values)}; expected numbers: name the columns to use in data.features, or write a column of 0 and 1 "
        "for each of its values"
    )


def _some(values: Sequence[str]) -> str:
    shown_ones = ", ".join(repr(shown(one)) for one in values[:SHOWN_VALUES])
    return shown_ones + (f" and {len(values) - SHOWN_VALUES:,} more" if len(values) > SHOWN_VALUES else "")


def _is_text(sources: Sequence[Source], names: _Names, column: str, task: str, are_text: bool) -> bool:
    """Whether the target is read as class names; numbers are the classes' own."""
    kind = names.kinds[column]
    if task in ("classification", "labelling"):
        return are_text or kind != "number" or any(source.holds_names_only(column) for source in sources)
    if kind == "text" and not _has_digits(sources, column):
        source = next(one for one in sources if one.kinds[column] == "text")
        advice = "" if task == "multilabel" else ": names of classes need a crossentropy loss"
        raise DataError(
            f"{source.name}: column {column} holds text: {_some(source.distinct(column))}; expected numbers, as the "
            f"task is {task}{advice}"
        )
    return False


def _is_read_as_text(name: object) -> bool:
    """Of a class that the job file names: text, and numbers that float32 does not tell from their neighbours."""
    return isinstance(name, str) or (isinstance(name, int) and abs(name) > EXACT)


def _has_digits(sources: Sequence[Source], column: str) -> bool:
    """Whether most of what a column of text holds is numbers written in another way: then each is named."""
    values = next(one for one in sources if one.kinds[column] == "text").distinct(column)[:1000]
    return 2 * sum(any(sign.isdigit() for sign in value) for value in values) > len(values)


def _read(
    spec: AttemptSpec,
    sources: Sequence[Source],
    names: _Names,
    columns: Sequence[str],
    texts: Sequence[str],
    task: str,
) -> tables.Table:
    """Again, with words, where a label turns out to be one in the middle of the file."""
    by_file = FILE if names.by_file else None
    words = [*(column for column in names.apart if column != by_file), *texts]
    numbers = tuple(dict.fromkeys(column for column in columns if column not in texts))
    labels = tuple(column for column in names.target if task in ("classification", "labelling"))
    data_is_whole = spec.jobfile["data"].get("missing", "error") == "error"
    wanted = Wanted(numbers, tuple(dict.fromkeys(words)), tuple(names.time), labels, by_file, data_is_whole)
    try:
        return tables.read(sources, wanted, spec.paths.work, spec.cpu_threads)
    except BecomesText as found:
        return _read(spec, sources, names, columns, [*texts, found.column], task)


def _wordless(file: str, table: tables.Table, column: str) -> list[DataError]:
    absent = np.flatnonzero(table.words[column].codes < 0)
    if not len(absent):
        return []
    which = rows_named(table.rows, absent[:5].tolist(), len(absent))
    return [
        DataError(
            f"{file}: column {column}: has no value in {len(absent)} rows ({which}); expected one in each"
        )
    ]


def _in_several_files(names: _Names, table: tables.Table) -> Iterator[str]:
    """Sequences, and groups without times, of which a file goes on with what another has begun: where each numbers its
    own, these are joined that have nothing to do with each other. `table`: as the files follow each other."""
    by = names.sequence or (None if names.time else names.group)
    if by is None or names.by_file or len(names.sources) < 2:
        return
    codes, count = table.words[by].codes, np.zeros(len(table.words[by].texts), np.int64)
    for rows in table.rows.of_files(len(table)):
        count[np.unique(codes[rows])] += 1
    shared = table.words[by].texts[count > 1].tolist()
    if shared:
        what = "sequence" if names.sequence else "series"
        stand = "stand" if len(shared) > 1 else "stands"
        yield (
            f"{names.file}: column {by}: {listed(shared)} {stand} in several files, whose rows are one {what} then: "
            "where each file numbers its own, give them names that differ from file to file."
        )


def _series_together(names: _Names, table: tables.Table) -> tables.Table:
    """With the rows of each series next to each other, in the order that they have in the file. Series that stand mixed
    come in the order of their names."""
    by = names.sequence or names.group
    if by is None:
        return table
    codes, words = table.words[by].codes, table.words[by].texts
    if len(begins(codes)) == len(words):
        return table
    order = np.argsort(_places(words.tolist())[codes], kind="stable")
    for column in range(table.values.shape[1]):  # one at a time: a table may fill the memory
        table.values[:, column] = table.values[order, column]
    held = {column: one.only(order) for column, one in table.words.items()}
    time = None if table.time is None else table.time[order]
    return replace(table, words=held, time=time, rows=table.rows.sorted(order))


def _places(words: Sequence[str]) -> NDArray[np.integer[Any]]:
    """Of each word among all, in their order; 9 comes before 10 where all are numbers."""
    try:
        values = [Decimal(word) for word in words]
    except InvalidOperation:
        return np.arange(len(words))
    if not all(map(Decimal.is_finite, values)):
        return np.arange(len(words))
    found = np.empty(len(words), np.int64)
    found[sorted(range(len(words)), key=values.__getitem__)] = np.arange(len(words))
    return found


def _arrays(
    names: _Names,
    data: Mapping[str, Any],
    table: tables.Table,
    features: list[str],
    target: list[str],
    task: str,
) -> LoadedData:
    path = names.file
    at = {column: number for number, column in enumerate(table.columns)}
    columns = f"column{'s' if len(names.time) > 1 else ''} {', '.join(names.time)}"
    sequence, group = (_words(table, column) for column in (names.sequence, names.group))
    for column, coded in ((names.sequence, sequence), (names.group, group)):
        if column is not None and coded is not None and column != FILE:
            alike.say_alike(path, column, coded.texts.tolist(), "series")
    targets, words = _targets(path, table, at, target, task, is_named=data.get("classes") is not None)
    first = None if sequence is None else begins(sequence.codes)
    return LoadedData(
        path,
        {"x": table.values},
        targets,
        lengths=None if first is None else np.diff(first, append=len(table)),
        weight=_weight(path, data, table, at),
        group=group,
        time=table.time,
        zone=table.zone,
        sequence=None if sequence is None or first is None else sequence.only(first),
        words=words,
        called={"y": f"column {', '.join(target)}", "time": columns},
        features=tuple(features),
        x_columns=_columns(at, features),
        y_columns=tuple(at[column] for column in target) if target and not targets else None,
        target_names=tuple(target),
        rows=table.rows,
    )


def without_unlabelled(found: LoadedData, handling: str) -> LoadedData:
    """Of a file to predict for: without its targets, where some rows have none. Those of numbers that are features too,
    or are filled (`handling`) in windows, tell of the past."""
    absent = {name: missing.rows_with(y) for name, y in found.targets.items()}
    if found.y_columns is not None and (handling != "fill" or found.lengths is not None):
        (table,) = found.inputs.values()
        shown = range(table.shape[1]) if found.x_columns is None else found.x_columns
        apart = [column for column in found.y_columns if column not in shown]
        absent["y"] = missing.rows_with(table[:, apart]) if apart else np.zeros(0, bool)
        if absent["y"].any():
            table[:, apart] = 0.0  # of no meaning: what is missing there shall count nowhere
    for name, rows in absent.items():
        if rows.any():
            absences = n(int(rows.sum()), "row")
            say([f"{found.place(name)}: has no value in {absences}: predictions are not compared with it."])
    targets = {name: y for name, y in found.targets.items() if not absent[name].any()}
    is_known = not absent.get("y", np.zeros(0)).any()
    return replace(found, targets=targets, y_columns=found.y_columns if is_known else None)


def _words(table: tables.Table, column: str | None) -> Coded | None:
    return None if column is None else table.words[column]


def _targets(
    path: str, table: tables.Table, at: Mapping[str, int], target: list[str], task: str, *, is_named: bool
) -> tuple[dict[str, Any], dict[str, tuple[str, ...]]]:
    """Classes, and what their numbers are called where they are text. Numbers to predict stay with the
    features, of which they may be one: ({}, {}). `is_named`: whether the job file names the classes."""
    if not target or task not in CLASS_TASKS:
        return {}, {}
    if task == "multilabel":
        return {"y": table.values[:, [at[column] for column in target]]}, {}
    if len(target) > 1:
        raise DataError(
            f"{path}: data.target names {len(target)} columns; expected one, as the task is {task} (several "
            "labels at once are task: multilabel)"
        )
    (column,) = target
    if column not in table.words:
        return {"y": table.values[:, at[column]]}, {}
    labels = table.words[column]
    alike.say_alike(path, column, labels.texts.tolist())
    if not is_named:
        alike.require_one_writing(path, column, labels.texts.tolist())
    is_absent = labels.codes < 0
    y = np.where(is_absent, np.float32(np.nan), labels.codes) if is_absent.any() else labels.codes
    return {"y": y}, {"y": tuple(labels.texts.tolist())}


def _weight(
    path: str, data: Mapping[str, Any], table: tables.Table, at: Mapping[str, int]
) -> NDArray[np.float32] | None:
    column = data.get("sample_weight")
    if column is None or column not in at:
        return None
    weight = table.values[:, at[column]]
    missing.refuse(lambda: f"{path}: column {column}", weight, table.rows, "")
    if not weight.any():
        raise DataError(
            f"{path}: column {column}: holds zeros only; expected weights of at least 0, and some above"
        )
    if weight.min() < 0:
        raise DataError(
            f"{path}: column {column}: holds {weight.min():g} ({_lowest(table.rows, weight)}); expected weights of at "
            "least 0"
        )
    return weight


def _require_truths(found: LoadedData, columns: Sequence[str]) -> None:
    """Raises DataError where a column is yes and no in one file, and holds other numbers in this one or another."""
    (values,) = found.inputs.values()
    at = dict(zip(found.features, found.x_columns or range(len(found.features)), strict=False))
    for column in columns:
        held = values[:, at[column]]
        wrong = np.flatnonzero((held != 0) & (held != 1) & ~np.isnan(held))
        if len(wrong):
            which = rows_named(found.rows, wrong[:5].tolist(), len(wrong))
            raise DataError(
                f"{found.file}: column {column}: holds {held[wrong[0]]:g} ({which}), and other rows or files yes "
                "and no; expected these alone, or 1 and 0"
            )


def _lowest(rows: RowNames, weight: NDArray[np.float32]) -> str:
    wrong = np.flatnonzero(weight < 0)
    return rows_named(rows, wrong[:5].tolist(), len(wrong))


def _columns(at: Mapping[str, int], features: Sequence[str]) -> tuple[int, ...] | None:
    columns = tuple(at[column] for column in features)
    return None if columns == tuple(range(len(at))) else columns
